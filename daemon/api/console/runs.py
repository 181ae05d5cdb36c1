"""The list of runs, the page of one run, and the question why a campaign ran or did not."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.console.actions import run_commands_for
from daemon.api.console.rendering import moment_text, render_page
from daemon.api.console.viewer import Reader
from daemon.api.pagination import decode_cursor, encode_cursor
from daemon.api.requests import backend_of, parse_ref, parse_run_id
from daemon.domain.campaign.explain import Evidence, explain_instant
from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.errors import CampaigndError
from daemon.domain.listing import RunFilter
from daemon.domain.requests.datetimes import parse_datetime, resolve_datetime
from daemon.domain.schedule.timezones import resolve, zone

router = APIRouter(include_in_schema=False)

PAGE = 50
"""Rows of the list."""
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
_EXACTLY = timedelta(microseconds=1)
_MINUTE = timedelta(minutes=1)
"""A form has minutes: the question is about the first run within the minute."""


@router.get("/runs")
async def list_runs(request: Request, viewer: Reader) -> Response:
    """List runs, newest first, with a search for campaigns and a filter by status and target."""
    asked = request.query_params
    backend = backend_of(request)
    day = _day(asked.get("day", ""))
    since = None if day is None else resolve(datetime.combine(day, time()), zone(viewer.zone))
    wanted = RunFilter(
        q=asked.get("q", "").strip() or None,
        status=RunStatus(asked["status"]) if asked.get("status") in set(RunStatus) else None,
        target=asked.get("target") or None,
        since=since,
        before=None if since is None else since + timedelta(days=1),
    )
    before = decode_cursor(asked.get("cursor"), datetime, int, datetime)
    found = await backend.search.runs(wanted, limit=PAGE, before=before)
    return render_page(
        request,
        viewer,
        "runs.html",
        runs=found.runs,
        statuses=list(RunStatus),
        targets=sorted(backend.targets()),
        wanted=wanted,
        day=day,
        cursor=None if found.next is None else encode_cursor(*found.next),
    )


@router.get("/runs/{run_id}")
async def show_run(request: Request, viewer: Reader, run_id: str) -> Response:
    """Show one run: its attempts as a time line, and what happened in words."""
    backend = backend_of(request)
    found = await backend.reads.run(parse_run_id(run_id))
    run = found.run
    record = await backend.explain(run.campaign_id, run.scheduled_for, _EXACTLY)
    return render_page(
        request,
        viewer,
        "run.html",
        found=found,
        run=run,
        record=record,
        answer=_answer(record, viewer.zone),
        commands=run_commands_for(run, record.campaign),
    )


@router.get("/explain")
async def explain(request: Request, viewer: Reader) -> Response:
    """Answer why a campaign ran at a minute, or did not."""
    asked = request.query_params
    ref, written = asked.get("campaign", "").strip(), asked.get("at", "").strip()
    record, error = None, None
    if ref and written:
        try:
            record = await _read_evidence(request, ref, written, viewer.zone)
        except CampaigndError as refused:
            error = refused.detail
        if record is None and error is None:
            error = f"{written} is not a date with a time."
    return render_page(
        request,
        viewer,
        "explain.html",
        campaign=ref,
        at=written,
        record=record,
        answer=None if record is None else _answer(record, viewer.zone),
        error=error,
    )


async def _read_evidence(
    request: Request, ref: str, written: str, zone_name: str
) -> Evidence | None:
    """Return the evidence; a time without an offset is in the viewer's zone. None if no time."""
    at = parse_datetime(written if written.count(":") > 1 else f"{written}:00")
    if at is None:
        return None
    try:
        instant, _ = resolve_datetime(at, zone(zone_name))
    except OverflowError:
        return None
    return await backend_of(request).explain(parse_ref(ref), instant, _MINUTE)


def _day(text: str) -> date | None:
    try:
        return min(max(date.fromisoformat(text), date(1970, 1, 1)), date(9000, 1, 1))
    except ValueError:
        return None


def _answer(record: Evidence, zone_name: str) -> str:
    """Return the explanation as a sentence with instants on the viewer's clocks."""

    def shown(found: re.Match[str]) -> str:
        return moment_text(datetime.fromisoformat(found[0]), zone_name)

    text = _INSTANT.sub(shown, explain_instant(record))
    return f"{text[:1].upper()}{text[1:]}."
