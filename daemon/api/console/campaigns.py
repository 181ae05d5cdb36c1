"""The list of campaigns, and the pages of one campaign."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.console.actions import MANY, commands_for
from daemon.api.console.rendering import render_page
from daemon.api.console.schedule_undo import former_body
from daemon.api.console.viewer import Reader, Viewer
from daemon.api.pagination import decode_cursor, encode_cursor
from daemon.api.requests import backend_of, parse_ref
from daemon.domain.campaign.schedule_fields import next_run_at, timezone_in_force
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import NotFound
from daemon.domain.listing import CampaignFilter
from daemon.domain.schedule.dst_affected import dst_affected
from daemon.domain.schedule.schedule import CampaignType, Schedule
from daemon.domain.schedule.words import schedule_in_words

router = APIRouter(include_in_schema=False)

PAGE = 50
"""Rows of a list."""
WITHIN = {"1 hour": timedelta(hours=1), "1 day": timedelta(days=1), "7 days": timedelta(days=7)}
"""The choices of how soon the next run of a listed campaign comes."""
OUTCOMES = 30
"""Runs in the strip of outcomes of a campaign."""
AHEAD = 10
"""Occurrences that the page of a campaign lists."""
TABS = ("overview", "runs", "schedule", "history", "payload")


@router.get("/campaigns")
async def list_campaigns(request: Request, viewer: Reader) -> Response:
    """List campaigns, newest first, with a search, and a count for each value of a filter."""
    asked = request.query_params
    search = backend_of(request).search
    within = asked.get("within", "")
    until = viewer.now + WITHIN[within] if within in WITHIN else None
    found = CampaignFilter(
        q=asked.get("q", "").strip() or None,
        since=viewer.now if until else None,
        before=until,
    )
    wanted = replace(
        found,
        status=Status(asked["status"]) if asked.get("status") in set(Status) else None,
        type=CampaignType(asked["type"]) if asked.get("type") in set(CampaignType) else None,
        target=asked.get("target") or None,
        timezone=asked.get("timezone") or None,
    )
    before = decode_cursor(asked.get("cursor"), int)
    rows = await search.campaigns(wanted, limit=PAGE + 1, before=before and before[0])
    return render_page(
        request,
        viewer,
        "campaigns.html",
        rows=rows[:PAGE],
        wanted=wanted,
        within=within,
        withins=list(WITHIN),
        commands=MANY,
        count=await search.count_campaigns(wanted),
        total=await search.count_campaigns(CampaignFilter()),
        # Of the search without the filters, so that each count tells what its link would list.
        facets=await search.facets(found),
        cursor=encode_cursor(rows[PAGE - 1].campaign.id) if len(rows) > PAGE else None,
    )


@router.get("/campaigns/{ref}")
async def show_campaign(request: Request, viewer: Reader, ref: str) -> Response:
    """Show a campaign: when it runs next, how its last runs ended, and what it is."""
    return await _campaign_page(request, viewer, ref, "overview")


@router.get("/campaigns/{ref}/{tab}")
async def show_campaign_tab(request: Request, viewer: Reader, ref: str, tab: str) -> Response:
    """Show one tab of a campaign's page."""
    if tab not in TABS[1:]:
        raise NotFound(message="Page not found", detail=f"a campaign has no page {tab!r}")
    return await _campaign_page(request, viewer, ref, tab)


async def _campaign_page(request: Request, viewer: Viewer, ref: str, tab: str) -> Response:
    reads = backend_of(request).reads
    detail = await reads.campaign(parse_ref(ref))
    campaign, current = detail.campaign, detail.current
    schedule = None if current is None else current.schedule
    asked = request.query_params
    values: dict[str, Any] = {}
    outcomes = await reads.runs(limit=OUTCOMES, ref=campaign.id)
    if tab == "runs":
        before = decode_cursor(asked.get("cursor"), datetime, int, datetime)
        runs = await reads.runs(limit=PAGE + 1, ref=campaign.id, before=before)
        values["runs"] = runs[:PAGE]
        values["cursor"] = encode_cursor(*runs[PAGE - 1].key) if len(runs) > PAGE else None
    elif tab == "history":
        position = decode_cursor(asked.get("cursor"), int)
        events = await reads.events(campaign.id, limit=PAGE + 1, before=position and position[0])
        values["events"] = events[:PAGE]
        values["cursor"] = encode_cursor(events[PAGE - 1].id) if len(events) > PAGE else None
    elif schedule is not None:
        values["ahead"] = schedule.occurrences(detail.now, AHEAD)
        values["clock_changes"] = dst_affected(schedule, detail.now)
    return render_page(
        request,
        viewer,
        "campaign.html",
        detail=detail,
        campaign=campaign,
        schedule=schedule,
        sentence=_sentence(schedule, detail.now),
        timezone=timezone_in_force(detail.snapshot),
        next_at=next_run_at(schedule, detail.timer, campaign.status),
        outcomes=outcomes,
        commands=commands_for(campaign),
        former=former_body(request) if asked.get("done") == "reschedule" else None,
        tab=tab,
        tabs=TABS,
        **values,
    )


def _sentence(schedule: Schedule | None, now: datetime) -> str:
    if schedule is None:
        return "No schedule."
    text = schedule_in_words(schedule, now)
    return f"{text[:1].upper()}{text[1:]}."
