"""The occurrences of all schedules in a stretch of time: past runs, and those to come."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from daemon.api.auth import READ
from daemon.api.occurrence_list import OccurrenceList
from daemon.api.openapi import route_responses
from daemon.api.parameters import (
    TEXT_LIMIT,
    TargetName,
    Text,
    Zone,
    invalid_parameter,
    parse_instant_parameter,
    parse_zone_parameter,
)
from daemon.api.requests import backend_of
from daemon.api.response_models import OccurrencePage
from daemon.domain.campaign.state_machine import Status
from daemon.domain.listing import CampaignFilter
from daemon.domain.occurrences import MAX_OCCURRENCES
from daemon.domain.schedule.schedule import CampaignType

router = APIRouter(tags=["Schedules"])

_From = Annotated[
    str,
    Query(
        alias="from",
        max_length=TEXT_LIMIT,
        examples=["2031-07-01"],
        description="The beginning, included: a date (00:00 UTC) or an instant.",
    ),
]
_Before = Annotated[
    str,
    Query(
        max_length=TEXT_LIMIT,
        examples=["2031-08-01"],
        description="The end, excluded: a date (00:00 UTC) or an instant.",
    ),
]
_Limit = Annotated[int, Query(ge=1, le=MAX_OCCURRENCES, description="Maximum occurrences.")]


@router.get(
    "/occurrences",
    name="occurrence_list",
    dependencies=READ,
    summary="List occurrences of all schedules",
    responses=route_responses(OccurrencePage),
)
async def list_occurrences(
    request: Request,
    since: _From,
    before: _Before,
    tz: Zone = "UTC",
    q: Text = None,
    status: Status | None = None,
    type: CampaignType | None = None,
    target: TargetName = None,
    drafts: Annotated[
        bool, Query(description="Whether the schedules of drafts are listed as if started now.")
    ] = False,
    limit: _Limit = 1000,
) -> Response:
    """Returns runs and occurrences to come from `from` until `before`, earliest first.

    A run has its outcome as `run_status`; an occurrence to come has none. Windows without timed
    runs have their opening and closing. `truncated` says that there are more: ask for a shorter
    stretch.
    """
    zone = parse_zone_parameter("tz", tz)
    first, last = parse_instant_parameter("from", since), parse_instant_parameter("before", before)
    assert first is not None
    assert last is not None
    if first >= last:
        raise invalid_parameter("before", "is not after from")
    wanted = CampaignFilter(q=q, status=status, type=type, target=target)
    listed = OccurrenceList(backend_of(request), wanted, first, last, zone, limit)
    content = await listed.render(with_drafts=drafts)
    return Response(content, media_type="application/json")
