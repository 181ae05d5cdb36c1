"""Answers of those who carry a run out and finish it later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import IdempotencyKey, RunId, answers, body
from daemon.api.request_models import COMPLETE_REQUEST, FAIL_REQUEST, HEARTBEAT_REQUEST
from daemon.api.requests import actor_of, parse_json, parse_run_id, read_body
from daemon.api.response_models import RunAnswered
from daemon.api.responses import Answer, answered
from daemon.api.routes.campaigns import WRITE, body_limit
from daemon.campaign_service import CampaignService
from daemon.domain.requests.declaration import Body
from daemon.domain.run.attempt import AttemptUpdate

router = APIRouter(tags=["Runs that finish later"])

T = TypeVar("T", bound=NamedTuple)
MESSAGE = "Invalid run values"

_RESPONSES = answers(RunAnswered, 404, 409, 422)


async def _read(request: Request, body: Body[T]) -> tuple[bytes, T]:
    """Return the body as received and as read."""
    raw = await read_body(request, body_limit(request))
    return raw, body.parse(parse_json(raw, MESSAGE), MESSAGE)


async def _answer(
    request: Request, raw: bytes, tell: Callable[[CampaignService], Awaitable[AttemptUpdate]]
) -> Response:
    async def act(control: CampaignService) -> Answer:
        return Answer(answered(await tell(control)))

    return await run_idempotently(request, act, raw)


@router.post(
    "/runs/{run_id}/complete",
    dependencies=WRITE,
    summary="Say that a run is done",
    responses=_RESPONSES,
    openapi_extra=body(COMPLETE_REQUEST, examples={"first attempt": {"attempt": 1}}),
)
async def complete_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ends the attempt; 409 if it is not the open one. Saying so twice changes nothing more."""
    identity: UUID = parse_run_id(run_id)
    raw, done = await _read(request, COMPLETE_REQUEST)
    actor = actor_of(request)
    return await _answer(request, raw, lambda c: c.complete(identity, done.attempt, actor))


@router.post(
    "/runs/{run_id}/fail",
    dependencies=WRITE,
    summary="Say that an attempt failed",
    responses=_RESPONSES,
    openapi_extra=body(
        FAIL_REQUEST, examples={"for good": {"attempt": 1, "error": "no", "retry": False}}
    ),
)
async def fail_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ends the attempt; there may be another, as the target has it, unless `retry` is false."""
    identity = parse_run_id(run_id)
    raw, failed = await _read(request, FAIL_REQUEST)
    actor = actor_of(request)
    return await _answer(
        request,
        raw,
        lambda c: c.fail(identity, failed.attempt, failed.error, actor, retry=failed.retry),
    )


@router.post(
    "/runs/{run_id}/heartbeat",
    dependencies=WRITE,
    summary="Say that a run goes on",
    responses=_RESPONSES,
    openapi_extra=body(HEARTBEAT_REQUEST, examples={"two minutes": {"attempt": 1, "seconds": 120}}),
)
async def extend_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Keeps the run from being taken over, for `seconds` from now."""
    identity = parse_run_id(run_id)
    raw, extended = await _read(request, HEARTBEAT_REQUEST)
    return await _answer(
        request, raw, lambda c: c.heartbeat(identity, extended.attempt, extended.seconds)
    )
