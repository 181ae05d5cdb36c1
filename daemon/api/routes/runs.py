"""Results of runs that their target finishes later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.auth import WORKER
from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import IdempotencyKey, RunId, request_body, route_responses
from daemon.api.request_models import COMPLETE_REQUEST, FAIL_REQUEST, HEARTBEAT_REQUEST
from daemon.api.requests import actor_of, parse_json, parse_run_id, read_json_bytes
from daemon.api.response_models import RunUpdate
from daemon.api.responses import ResponseData, run_update
from daemon.campaign_service import CampaignService
from daemon.domain.requests.declaration import Body
from daemon.domain.run.attempt import AttemptUpdate

router = APIRouter(tags=["Runs that finish later"])

T = TypeVar("T", bound=NamedTuple)
MESSAGE = "Invalid run values"

_RESPONSES = route_responses(RunUpdate, 404, 409, 422)


async def _read_and_parse_body(request: Request, body: Body[T]) -> tuple[bytes, T]:
    """Return the body as received and as parsed."""
    raw = await read_json_bytes(request)
    return raw, body.read_whole_body(parse_json(raw, MESSAGE), MESSAGE)


async def _report_idempotently(
    request: Request, raw: bytes, report: Callable[[CampaignService], Awaitable[AttemptUpdate]]
) -> Response:
    async def report_result(service: CampaignService) -> ResponseData:
        return ResponseData(run_update(await report(service)))

    return await run_idempotently(request, report_result, raw)


@router.post(
    "/runs/{run_id}/complete",
    dependencies=WORKER,
    name="run_complete",
    summary="Complete a run",
    responses=_RESPONSES,
    openapi_extra=request_body(COMPLETE_REQUEST, examples={"first attempt": {"attempt": 1}}),
)
async def complete_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ends the attempt as completed. Repeating the call changes nothing.

    Returns 409 if the attempt is not the open one.
    """
    identity: UUID = parse_run_id(run_id)
    raw, done = await _read_and_parse_body(request, COMPLETE_REQUEST)
    actor = actor_of(request)
    return await _report_idempotently(
        request, raw, lambda c: c.complete(identity, done.attempt, actor)
    )


@router.post(
    "/runs/{run_id}/fail",
    dependencies=WORKER,
    name="run_fail",
    summary="Fail an attempt",
    responses=_RESPONSES,
    openapi_extra=request_body(
        FAIL_REQUEST, examples={"without a retry": {"attempt": 1, "error": "no", "retry": False}}
    ),
)
async def fail_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ends the attempt as failed.

    The target's settings decide whether another attempt follows; with `retry` false, none does.
    """
    identity = parse_run_id(run_id)
    raw, failed = await _read_and_parse_body(request, FAIL_REQUEST)
    actor = actor_of(request)
    return await _report_idempotently(
        request,
        raw,
        lambda c: c.fail(identity, failed.attempt, failed.error, actor, retry=failed.retry),
    )


@router.post(
    "/runs/{run_id}/heartbeat",
    dependencies=WORKER,
    name="run_heartbeat",
    summary="Extend a run's lease",
    responses=_RESPONSES,
    openapi_extra=request_body(
        HEARTBEAT_REQUEST, examples={"two minutes": {"attempt": 1, "seconds": 120}}
    ),
)
async def extend_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Prevents another node from taking the run over, for `seconds` from now.

    Changes nothing while the node that started the attempt waits for the target: it keeps the run.
    """
    identity = parse_run_id(run_id)
    raw, extended = await _read_and_parse_body(request, HEARTBEAT_REQUEST)
    return await _report_idempotently(
        request, raw, lambda c: c.heartbeat(identity, extended.attempt, extended.seconds)
    )
