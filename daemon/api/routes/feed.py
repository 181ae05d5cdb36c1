"""Calendar feeds: the runs to come, for the calendar programs of people."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from importlib import import_module
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from daemon.api.auth import READ_OR_FEED
from daemon.api.openapi import CampaignRef, route_responses
from daemon.api.parameters import TargetName
from daemon.api.requests import backend_of, parse_ref
from daemon.domain.campaign.state_machine import ARMED
from daemon.domain.listing import CampaignFilter
from daemon.domain.occurrences import ScheduledCampaign
from daemon.domain.read_models import CampaignDetail
from daemon.runtime.clock import SystemClock

router = APIRouter(tags=["Calendar feed"])

_clock = SystemClock()
_MAX_AGE_S = 300
_MAX_SCHEDULES = 5001
"""Schedules that are read: each has an event, and a feed lists one fewer."""
_writer = ThreadPoolExecutor(1, thread_name_prefix="feed")
"""Writes calendars one at a time, so that they leave the interpreter to the scheduler."""

Days = Annotated[int, Query(ge=1, le=400, description="Days from now that the calendar covers.")]
FeedKey = Annotated[
    str | None,
    Query(
        description="A key of the scope feed, for programs that send no Authorization header.",
    ),
]
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The calendar (RFC 5545)",
        "content": {"text/calendar": {"schema": {"type": "string"}}},
        "headers": {
            "ETag": {"description": "For If-None-Match.", "schema": {"type": "string"}},
            "Cache-Control": {"description": "private", "schema": {"type": "string"}},
        },
    },
    304: {"description": "The calendar has the ETag of If-None-Match"},
}


@router.get(
    "/calendar.ics",
    name="calendar_read",
    dependencies=READ_OR_FEED,
    summary="Read the runs to come as a calendar",
    response_class=Response,
    responses={**route_responses(None), **_RESPONSES},
)
async def read_calendar(
    request: Request, days: Days = 60, target: TargetName = None, key: FeedKey = None
) -> Response:
    """Returns an event for each run to come of all campaigns, at most 5,000, soonest first."""
    now = _clock.now()
    before = now + timedelta(days=days)
    schedules = backend_of(request).schedules
    found = await schedules.schedules_until(CampaignFilter(target=target), before, _MAX_SCHEDULES)
    return await _calendar_response(request, "campaignd", found, now, before)


@router.get(
    "/campaigns/{ref}/calendar.ics",
    name="campaign_calendar_read",
    dependencies=READ_OR_FEED,
    summary="Read a campaign's runs to come as a calendar",
    response_class=Response,
    responses={**route_responses(None, 404), **_RESPONSES},
)
async def read_campaign_calendar(
    request: Request, ref: CampaignRef, days: Days = 60, key: FeedKey = None
) -> Response:
    """Returns an event for each run to come; none of a campaign that is not started."""
    shown = await backend_of(request).reads.campaign(parse_ref(ref))
    before = shown.now + timedelta(days=days)
    return await _calendar_response(
        request, shown.campaign.name, _armed_schedule_of(shown), shown.now, before
    )


def _armed_schedule_of(shown: CampaignDetail) -> list[ScheduledCampaign]:
    campaign, current, timer = shown.campaign, shown.current, shown.timer
    if campaign.status not in ARMED or current is None or timer is None:
        return []
    return [
        ScheduledCampaign(
            campaign.id,
            campaign.uuid,
            campaign.name,
            campaign.type,
            campaign.status,
            campaign.target,
            current.schedule,
            timer.at,
            shown.revision or 0,
            shown.saved_at,
        )
    ]


async def _calendar_response(
    request: Request,
    name: str,
    campaigns: Sequence[ScheduledCampaign],
    now: datetime,
    before: datetime,
) -> Response:
    def write() -> bytes:
        # Few installations use the library, so it is loaded by the first feed.
        text: bytes = import_module("daemon.calendar_sources.feed").write_feed(
            name, campaigns, now, before
        )
        return text

    text = await asyncio.get_running_loop().run_in_executor(_writer, write)
    etag = f'"{hashlib.sha256(text).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": f"private, max-age={_MAX_AGE_S}"}
    known = request.headers.get("if-none-match", "").replace("W/", "")
    if known.strip() == "*" or etag in [each.strip() for each in known.split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(text, headers=headers, media_type="text/calendar; charset=utf-8")
