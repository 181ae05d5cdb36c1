"""Answers of those who carry a run out and finish it later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import IdempotencyKey, RunId, answers, body
from daemon.api.request_models import CompleteRequest, FailRequest, HeartbeatRequest
from daemon.api.requests import actor_of, parse_json, parse_run_id, read_body
from daemon.api.response_models import RunAnswered
from daemon.api.responses import Answer, answered
from daemon.api.routes.campaigns import WRITE, body_limit
from daemon.campaign_service import CampaignService
from daemon.domain.requests.fields import BLANK, Faults, invalid, read_boolean, read_integer, shown
from daemon.domain.run.attempt import AttemptUpdate

router = APIRouter(tags=["Runs that finish later"])

MESSAGE = "Invalid run values"
DEFAULT_HEARTBEAT_S = 60
LONGEST_HEARTBEAT_S = 86_400
ERROR_LIMIT = 2000
_SMALLINT = 32_767

_RESPONSES = answers(RunAnswered, 404, 409, 422)


async def _read(
    request: Request, known: frozenset[str]
) -> tuple[bytes, dict[str, Any], Faults, int]:
    """The body, what is wrong with it so far, and the attempt that it is about."""
    raw = await read_body(request, body_limit(request))
    value = parse_json(raw, MESSAGE)
    if not isinstance(value, dict):
        raise invalid(400, MESSAGE, {"body": [f"is {shown(value)}, must be an object"]})
    faults = Faults()
    faults.unknown(value, known)
    attempt = read_integer(faults, "attempt", value.get("attempt"), 1, _SMALLINT)
    if attempt is None and "attempt" not in faults:
        faults.malformed("attempt", BLANK)
    return raw, value, faults, attempt or 0


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
    openapi_extra=body(CompleteRequest, examples={"first attempt": {"attempt": 1}}),
)
async def complete_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ends the attempt; 409 if it is not the open one. Saying so twice changes nothing more."""
    identity: UUID = parse_run_id(run_id)
    raw, _, faults, attempt = await _read(request, frozenset({"attempt"}))
    if faults:
        raise faults.error(MESSAGE)
    actor = actor_of(request)
    return await _answer(request, raw, lambda c: c.complete(identity, attempt, actor))


@router.post(
    "/runs/{run_id}/fail",
    dependencies=WRITE,
    summary="Say that an attempt failed",
    responses=_RESPONSES,
    openapi_extra=body(
        FailRequest, examples={"for good": {"attempt": 1, "error": "no", "retry": False}}
    ),
)
async def fail_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ends the attempt; there may be another, as the target has it, unless `retry` is false."""
    identity = parse_run_id(run_id)
    raw, value, faults, attempt = await _read(request, frozenset({"attempt", "error", "retry"}))
    reason = value.get("error")
    if reason is None or reason == "":
        faults.malformed("error", BLANK)
    elif not isinstance(reason, str) or len(reason) > ERROR_LIMIT:
        faults.malformed("error", f"must be text of at most {ERROR_LIMIT} characters")
    retry = read_boolean(faults, "retry", value.get("retry"))
    if faults:
        raise faults.error(MESSAGE)
    actor, text = actor_of(request), str(reason)
    return await _answer(
        request,
        raw,
        lambda c: c.fail(identity, attempt, text, actor, retry=retry is not False),
    )


@router.post(
    "/runs/{run_id}/heartbeat",
    dependencies=WRITE,
    summary="Say that a run goes on",
    responses=_RESPONSES,
    openapi_extra=body(HeartbeatRequest, examples={"two minutes": {"attempt": 1, "seconds": 120}}),
)
async def extend_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Keeps the run from being taken over, for `seconds` from now."""
    identity = parse_run_id(run_id)
    raw, value, faults, attempt = await _read(request, frozenset({"attempt", "seconds"}))
    seconds = read_integer(faults, "seconds", value.get("seconds"), 1, LONGEST_HEARTBEAT_S)
    if faults:
        raise faults.error(MESSAGE)
    lasts = seconds or DEFAULT_HEARTBEAT_S
    return await _answer(request, raw, lambda c: c.heartbeat(identity, attempt, lasts))
