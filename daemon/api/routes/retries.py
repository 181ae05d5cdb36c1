"""Failed runs: their next attempt on an operator's decision."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.auth import WRITE
from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import IdempotencyKey, RunId, request_body, route_responses
from daemon.api.requests import actor_of, parse_run_id
from daemon.api.response_models import RunRetried
from daemon.api.responses import ResponseData, run_retried
from daemon.api.routes.lifecycle import read_command
from daemon.campaign_service import CampaignService
from daemon.domain.campaign.command_request import COMMAND_REQUEST

router = APIRouter(tags=["Runs and history"])


@router.post(
    "/runs/{run_id}/retry",
    name="run_retry",
    dependencies=WRITE,
    summary="Retry a failed run",
    responses=route_responses(RunRetried, 404, 409, 422),
    openapi_extra=request_body(
        COMMAND_REQUEST, examples={"with a note": {"note": "fixed"}}, required=False
    ),
)
async def retry_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Makes the next attempt of a failed run due now, with a new grace time."""
    identity = parse_run_id(run_id)
    raw, given = await read_command(request, COMMAND_REQUEST)

    async def retry(service: CampaignService) -> ResponseData:
        result = await service.retry(identity, actor_of(request), **given)
        return ResponseData(run_retried(identity, result))

    return await run_idempotently(request, retry, raw)
