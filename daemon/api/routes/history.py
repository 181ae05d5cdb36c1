"""Runs, events and upcoming events, of one campaign and of all."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from daemon.api.auth import READ, READ_OR_WORKER
from daemon.api.openapi import CampaignRef, Cursor, Limit, RunId, route_responses
from daemon.api.pagination import decode_cursor, page_response
from daemon.api.parameters import (
    Before,
    Label,
    RunsBefore,
    RunsSince,
    Since,
    TargetName,
    Text,
    parse_instant_parameter,
)
from daemon.api.requests import backend_of, parse_ref, parse_run_id
from daemon.api.response_models import EventPage, RunItem, RunPage, UpcomingPage
from daemon.api.responses import event_item, run_item, upcoming_item
from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.listing import CampaignFilter, EventFilter, RunFilter, TimeRange
from daemon.domain.schedule.schedule import CampaignType

router = APIRouter(tags=["Runs and history"])

_CampaignFilter = Annotated[
    str | None,
    Query(
        alias="campaign",
        max_length=36,
        description="Only runs of the campaign with this id or uuid.",
    ),
]


@router.get(
    "/runs",
    name="run_list",
    dependencies=READ,
    summary="List runs of all campaigns",
    responses=route_responses(RunPage, 404),
)
async def list_all_runs(
    request: Request,
    q: Text = None,
    status: RunStatus | None = None,
    target: TargetName = None,
    campaign: _CampaignFilter = None,
    since: RunsSince = None,
    before: RunsBefore = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Returns runs, newest first by their latest claim, and how many there are.

    With `q` or `target`, a page reads at most 10,000 runs. It may then have fewer runs than
    `limit`, or none, although `next_cursor` leads to more; and `count` is that of the newest
    10,000, with `more` true if there are others. `q` may also be the id of a run.
    """
    position = decode_cursor(cursor, datetime, int, datetime)
    backend = backend_of(request)
    search = backend.search
    wanted = RunFilter(
        q=q,
        status=status,
        target=target,
        campaign_id=None
        if campaign is None
        else await backend.reads.campaign_id_of(parse_ref(campaign)),
        since=parse_instant_parameter("from", since),
        before=parse_instant_parameter("before", before),
    )
    found = await search.runs(wanted, limit=limit, before=position)
    return page_response(
        found.runs,
        limit,
        run_item,
        lambda run: run.key,
        await search.count_runs(wanted),
        found.next,
    )


@router.get(
    "/campaigns/{ref}/runs",
    name="campaign_run_list",
    dependencies=READ,
    summary="List a campaign's runs",
    responses=route_responses(RunPage, 404),
)
async def list_runs(
    request: Request,
    ref: CampaignRef,
    status: RunStatus | None = None,
    since: Since = None,
    before: Before = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Returns runs by scheduled instant, newest first, and how many there are."""
    position = decode_cursor(cursor, datetime, int, datetime)
    reads = backend_of(request).reads
    campaign_id = await reads.campaign_id_of(parse_ref(ref))
    stretch = TimeRange(
        parse_instant_parameter("from", since), parse_instant_parameter("before", before)
    )
    found = await reads.runs_of(
        campaign_id, limit=limit + 1, status=status, stretch=stretch, before=position
    )
    counted = await reads.count_runs_of(campaign_id, status=status, stretch=stretch)
    return page_response(found, limit, run_item, lambda run: run.key, counted)


@router.get(
    "/campaigns/{ref}/events",
    name="campaign_event_list",
    dependencies=READ,
    summary="List a campaign's events",
    responses=route_responses(EventPage, 404),
)
async def list_events(
    request: Request, ref: CampaignRef, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Returns every change of the campaign, newest first: statuses, cause and actor."""
    before = decode_cursor(cursor, int)
    reads = backend_of(request).reads
    campaign_id = await reads.campaign_id_of(parse_ref(ref))
    found = await reads.events(campaign_id, limit=limit + 1, before=before and before[0])
    counted = await reads.count_events_of(campaign_id)
    return page_response(found, limit, event_item, lambda event: (event.id,), counted)


@router.get(
    "/events",
    name="event_list",
    dependencies=READ,
    summary="List events of all campaigns",
    responses=route_responses(EventPage),
)
async def list_all_events(
    request: Request,
    event: Label = None,
    actor: Label = None,
    since: Since = None,
    before: Before = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Returns every change of every campaign, newest first.

    The ordinary start and end of a run are left out; `GET /runs` has them.
    """
    position = decode_cursor(cursor, int)
    events = backend_of(request).events
    wanted = EventFilter(
        event=event,
        actor=actor,
        since=parse_instant_parameter("from", since),
        before=parse_instant_parameter("before", before),
    )
    found = await events.events(wanted, limit=limit + 1, before=position and position[0])
    counted = await events.count_events(wanted)
    return page_response(found, limit, event_item, lambda each: (each.id,), counted)


@router.get(
    "/runs/{run_id}",
    name="run_read",
    dependencies=READ_OR_WORKER,
    summary="Read a run",
    responses=route_responses(RunItem, 404),
)
async def read_run(request: Request, run_id: RunId) -> Response:
    """Returns a run."""
    return JSONResponse(run_item(await backend_of(request).reads.run(parse_run_id(run_id))))


@router.get(
    "/upcoming",
    name="upcoming_list",
    dependencies=READ,
    summary="List upcoming events",
    responses=route_responses(UpcomingPage),
)
async def list_upcoming(
    request: Request,
    q: Text = None,
    type: CampaignType | None = None,
    target: TargetName = None,
    since: Since = None,
    before: Before = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Returns the next event of every campaign that is not paused, soonest first."""
    after = decode_cursor(cursor, datetime, int)
    wanted = CampaignFilter(
        q=q,
        type=type,
        target=target,
        since=parse_instant_parameter("from", since),
        before=parse_instant_parameter("before", before),
    )
    search = backend_of(request).search
    found = await search.upcoming(wanted, limit=limit + 1, after=after)
    counted = await search.count_upcoming(wanted)
    return page_response(found, limit, upcoming_item, lambda event: event.key, counted)
