"""The page Today: what needs a person first, then what comes next and what ended last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.console.actions import held_commands
from daemon.api.console.planner import planner_of
from daemon.api.console.rendering import local, render_page
from daemon.api.console.viewer import Reader
from daemon.api.requests import backend_of
from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.listing import RunFilter
from daemon.domain.read_models import RunDetail

router = APIRouter(include_in_schema=False)

SHOWN = 200
"""Maximum runs that are read of each status that needs a person."""
LISTED = 8
"""Runs of each such status that are listed; the page of runs has the others."""
UPCOMING = 15
ENDED = 15
HOURS = 24


@router.get("/")
async def show_today(request: Request, viewer: Reader) -> Response:
    """Show what needs a person today, the next runs and the last ends."""
    backend = backend_of(request)
    overview = await backend.overview()
    today = local(overview.now, viewer.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today.astimezone(UTC)
    held = await backend.reads.runs(limit=SHOWN, status=RunStatus.HELD)
    failed = await _runs_since(request, RunStatus.FAILED, since)
    missed = await _runs_since(request, RunStatus.MISSED, since)
    hours = await _hours_ahead(request, overview.now)
    newest = await backend.reads.runs(limit=4 * ENDED)
    return render_page(
        request,
        viewer,
        "today.html",
        overview=overview,
        live_nodes=[node for node in overview.nodes if node.live],
        held=held,
        failed=failed,
        missed=missed,
        since=since,
        failing=Counter(found.target for found in failed).most_common(),
        decisions={found.run.id: held_commands(found.run) for found in held},
        shown=SHOWN,
        listed=LISTED,
        executing=await backend.reads.runs(limit=LISTED, status=RunStatus.EXECUTING),
        retrying=await backend.reads.runs(limit=LISTED, status=RunStatus.RETRYING),
        hours=hours,
        coming=sum(count for _, count in hours),
        busiest=max(1, *(count for _, count in hours)),
        upcoming=await backend.reads.upcoming(limit=UPCOMING),
        ended=[found for found in newest if found.run.finished_at is not None][:ENDED],
    )


async def _hours_ahead(request: Request, now: datetime) -> list[tuple[datetime, int]]:
    """Return the hours of the next day, each with the number of its runs."""
    minute = now.replace(second=0, microsecond=0)
    hour = minute.replace(minute=0)
    hours = [hour + timedelta(hours=number) for number in range(HOURS + 1)]
    plan = await planner_of(request).current()
    found = await plan.expand([minute, *hours[1:]], keep=0)
    return [(start, period.count) for start, period in zip(hours, found, strict=False)]


async def _runs_since(request: Request, status: RunStatus, since: datetime) -> Sequence[RunDetail]:
    wanted = RunFilter(status=status, since=since)
    return (await backend_of(request).search.runs(wanted, limit=SHOWN)).runs
