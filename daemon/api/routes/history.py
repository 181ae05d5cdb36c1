"""What happened and what comes: runs, events, upcoming."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from daemon.api import pagination
from daemon.api.idempotency import backend_of
from daemon.api.openapi import CampaignRef, Cursor, Limit, RunId, answers
from daemon.api.requests import parse_ref, parse_run_id
from daemon.api.response_models import EventPage, RunItem, RunPage, UpcomingPage
from daemon.api.responses import event_item, run_item, upcoming_item
from daemon.api.routes.campaigns import READ
from daemon.domain.campaign.state_machine import RunStatus

router = APIRouter(tags=["History"])


@router.get(
    "/campaigns/{ref}/runs",
    dependencies=READ,
    summary="List a campaign's runs",
    responses=answers(RunPage, 404),
)
async def list_runs(
    request: Request,
    ref: CampaignRef,
    status: RunStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Runs by scheduled instant, newest first."""
    identity = parse_ref(ref)
    before = pagination.decode(cursor, datetime, int, datetime)
    found = await backend_of(request).reads.runs(
        limit=limit + 1, ref=identity, status=status, before=before
    )
    page = found[:limit]
    more = pagination.encode(*page[-1].key) if len(found) > limit else None
    return JSONResponse({"items": [run_item(each) for each in page], "next_cursor": more})


@router.get(
    "/campaigns/{ref}/events",
    dependencies=READ,
    summary="List what happened to a campaign",
    responses=answers(EventPage, 404),
)
async def list_events(
    request: Request, ref: CampaignRef, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """Every change of the campaign, newest first: from, to, why, by whom."""
    identity = parse_ref(ref)
    before = pagination.decode(cursor, int)
    found = await backend_of(request).reads.events(
        identity, limit=limit + 1, before=before and before[0]
    )
    page = found[:limit]
    more = pagination.encode(page[-1].id) if len(found) > limit else None
    return JSONResponse({"items": [event_item(each) for each in page], "next_cursor": more})


@router.get(
    "/runs/{run_id}", dependencies=READ, summary="Read a run", responses=answers(RunItem, 404)
)
async def read_run(request: Request, run_id: RunId) -> Response:
    """One run."""
    return JSONResponse(run_item(await backend_of(request).reads.run(parse_run_id(run_id))))


@router.get(
    "/upcoming",
    dependencies=READ,
    summary="List what comes next",
    responses=answers(UpcomingPage),
)
async def list_upcoming(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The next event of every campaign that is not paused, soonest first."""
    after = pagination.decode(cursor, datetime, int)
    found = await backend_of(request).reads.upcoming(limit=limit + 1, after=after)
    page = found[:limit]
    more = pagination.encode(*page[-1].key) if len(found) > limit else None
    return JSONResponse({"items": [upcoming_item(each) for each in page], "next_cursor": more})
