"""Runs, events and upcoming runs of campaigns."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from daemon.api.auth import READ, READ_OR_WORKER
from daemon.api.openapi import CampaignRef, Cursor, Limit, RunId, route_responses
from daemon.api.pagination import decode_cursor, page_response
from daemon.api.requests import backend_of, parse_ref, parse_run_id
from daemon.api.response_models import EventPage, RunItem, RunPage, UpcomingPage
from daemon.api.responses import event_item, run_item, upcoming_item
from daemon.domain.campaign.state_machine import RunStatus

router = APIRouter(tags=["History"])


@router.get(
    "/campaigns/{ref}/runs",
    dependencies=READ,
    summary="List a campaign's runs",
    responses=route_responses(RunPage, 404),
)
async def list_runs(
    request: Request,
    ref: CampaignRef,
    status: RunStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Returns runs by scheduled instant, newest first."""
    identity = parse_ref(ref)
    before = decode_cursor(cursor, datetime, int, datetime)
    found = await backend_of(request).reads.runs(
        limit=limit + 1, ref=identity, status=status, before=before
    )
    return page_response(found, limit, run_item, lambda run: run.key)


@router.get(
    "/campaigns/{ref}/events",
    dependencies=READ,
    summary="List a campaign's events",
    responses=route_responses(EventPage, 404),
)
async def list_events(
    request: Request, ref: CampaignRef, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Returns every change of the campaign, newest first: statuses, cause and actor."""
    identity = parse_ref(ref)
    before = decode_cursor(cursor, int)
    found = await backend_of(request).reads.events(
        identity, limit=limit + 1, before=before and before[0]
    )
    return page_response(found, limit, event_item, lambda event: (event.id,))


@router.get(
    "/runs/{run_id}",
    dependencies=READ_OR_WORKER,
    summary="Read a run",
    responses=route_responses(RunItem, 404),
)
async def read_run(request: Request, run_id: RunId) -> Response:
    """Returns a run."""
    return JSONResponse(run_item(await backend_of(request).reads.run(parse_run_id(run_id))))


@router.get(
    "/upcoming",
    dependencies=READ,
    summary="List upcoming events",
    responses=route_responses(UpcomingPage),
)
async def list_upcoming(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Returns the next event of every campaign that is not paused, soonest first."""
    after = decode_cursor(cursor, datetime, int)
    found = await backend_of(request).reads.upcoming(limit=limit + 1, after=after)
    return page_response(found, limit, upcoming_item, lambda event: event.key)
