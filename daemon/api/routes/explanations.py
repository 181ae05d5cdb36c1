"""Why a campaign ran at an instant, or did not."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from daemon.api.auth import READ
from daemon.api.openapi import CampaignRef, route_responses
from daemon.api.parameters import TEXT_LIMIT, invalid_parameter
from daemon.api.requests import backend_of, parse_ref
from daemon.api.response_models import ExplanationResponse
from daemon.api.responses import explanation_response
from daemon.domain.requests.datetimes import parse_datetime
from daemon.domain.requests.fields import datetime_fault

router = APIRouter(tags=["Runs and history"])

_At = Annotated[
    str | None,
    Query(
        max_length=TEXT_LIMIT,
        examples=["2031-07-01T09:00"],
        description="The time in question, in the zone of the schedule or with an offset; without "
        "seconds, the whole minute. Absent: the newest runs.",
    ),
]


@router.get(
    "/campaigns/{ref}/explain",
    name="campaign_explain",
    dependencies=READ,
    summary="Explain why a campaign ran, or did not",
    responses=route_responses(ExplanationResponse, 404),
)
async def explain_campaign(request: Request, ref: CampaignRef, at: _At = None) -> Response:
    """Returns a sentence for each occurrence in question, with its events, and what comes next."""
    identity = parse_ref(ref)
    written = None if at is None else parse_datetime(at)
    if at is not None and written is None:
        raise invalid_parameter("at", datetime_fault(at))
    try:
        found = await backend_of(request).explain_campaign(identity, written)
    except OverflowError:
        raise invalid_parameter("at", "is outside the years 1 to 9999 in UTC") from None
    return JSONResponse(explanation_response(found))
