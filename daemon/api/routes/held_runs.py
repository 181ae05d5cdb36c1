"""Decisions on runs that wait for an operator: to release them, or to drop them."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.auth import WRITE
from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import IdempotencyKey, RunId, request_body, route_responses
from daemon.api.requests import actor_of, parse_json, parse_run_id, read_json_bytes
from daemon.api.response_models import RunDecided, RunsDecided
from daemon.api.responses import ResponseData
from daemon.campaign_service import CampaignService
from daemon.domain.formatting import instant_text
from daemon.domain.run.held import MANY_DECIDED, MESSAGE, ONE_DECIDED

router = APIRouter(tags=["Held runs"])

Decision = Literal["release", "drop"]
_EXAMPLES: dict[str, Any] = {
    "what came due during a freeze": {"where": {"reason": "frozen"}, "confirm": 12},
    "one campaign's": {"where": {"campaign": 42}, "confirm": 1, "note": "checked with marketing"},
}
_MANY = request_body(MANY_DECIDED, examples=_EXAMPLES)
_ONE = request_body(ONE_DECIDED, examples={"with a note": {"note": "checked"}}, required=False)


@router.post(
    "/runs/release",
    name="run_release_many",
    dependencies=WRITE,
    summary="Release many held runs",
    responses=route_responses(RunsDecided, 409, 422),
    openapi_extra=_MANY,
)
async def release_runs(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Makes all held runs due now to which the conditions of `where` apply.

    Returns 409 with their number unless `confirm` is at least that.
    """
    return await _decide_many(request, "release")


@router.post(
    "/runs/drop",
    name="run_drop_many",
    dependencies=WRITE,
    summary="Drop many held runs",
    responses=route_responses(RunsDecided, 409, 422),
    openapi_extra=_MANY,
)
async def drop_runs(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Ends all runs as missed that are held before their first attempt, as `where` selects them.

    Returns 409 with their number unless `confirm` is at least that.
    """
    return await _decide_many(request, "drop")


@router.post(
    "/runs/{run_id}/release",
    name="run_release",
    dependencies=WRITE,
    summary="Release a held run",
    responses=route_responses(RunDecided, 404, 409, 422),
    openapi_extra=_ONE,
)
async def release_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Makes a held run due now; its grace starts again. Its id, and so the key, stays the same."""
    return await _decide_one(request, run_id, "release")


@router.post(
    "/runs/{run_id}/drop",
    name="run_drop",
    dependencies=WRITE,
    summary="Drop a held run",
    responses=route_responses(RunDecided, 404, 409, 422),
    openapi_extra=_ONE,
)
async def drop_run(
    request: Request, run_id: RunId, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ends a run as missed that is held before its first attempt.

    Returns 409 for a run that has attempts: one may have taken effect.
    """
    return await _decide_one(request, run_id, "drop")


async def _decide_many(request: Request, decision: Decision) -> Response:
    raw = await read_json_bytes(request)
    decided = MANY_DECIDED.read_whole_body(parse_json(raw, MESSAGE), MESSAGE)
    actor = actor_of(request)

    async def decide(service: CampaignService) -> ResponseData:
        count = await service.decide_many(decision, decided, actor)
        return ResponseData({"success": True, "count": count})

    return await run_idempotently(request, decide, raw)


async def _decide_one(request: Request, run_id: str, decision: Decision) -> Response:
    identity = parse_run_id(run_id)
    raw = await read_json_bytes(request)
    body = parse_json(raw, MESSAGE) if raw.strip() else {}
    note = ONE_DECIDED.read_whole_body(body, MESSAGE).note
    actor = actor_of(request)

    async def decide(service: CampaignService) -> ResponseData:
        act = service.release if decision == "release" else service.drop
        update = await act(identity, actor, note)
        return ResponseData(
            {
                "success": True,
                "run_id": str(update.run_id),
                "campaign_id": update.campaign_id,
                "status": update.status,
                "due_at": instant_text(update.next_attempt_at),
            }
        )

    return await run_idempotently(request, decide, raw)
