"""Freezes: nothing begins any more, of one target or at all, until an admin's key thaws it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from daemon.api.auth import ADMIN, READ, WRITE
from daemon.api.openapi import request_body, route_responses
from daemon.api.requests import actor_of, backend_of, parse_json, read_json_bytes
from daemon.api.response_models import FreezeDone, FreezeList, ThawDone
from daemon.domain.brakes import FREEZE_REQUEST, MESSAGE, THAW_REQUEST, Overdue, check_freeze
from daemon.domain.formatting import instant_text
from daemon.domain.receipts import Receipt

router = APIRouter(tags=["Freezes"])

WAIT_S = 5.0
"""Seconds that the answer to a freeze waits for the nodes."""


@router.get(
    "/freeze",
    name="freeze_list",
    dependencies=READ,
    summary="List the freezes in force",
    responses=route_responses(FreezeList),
)
async def list_freezes(request: Request) -> Response:
    """Returns what is frozen, since when, by whom, and how many occurrences wait."""
    brakes = backend_of(request).brakes
    items = [
        {
            "scope": brake.scope,
            "frozen_at": instant_text(brake.frozen_at),
            "by": brake.frozen_by,
            "note": brake.note,
            "until": instant_text(brake.thaw_at),
            "waiting": await brakes.count_waiting(brake),
        }
        for brake in (await brakes.read()).frozen
    ]
    return JSONResponse({"items": items})


@router.post(
    "/freeze",
    name="freeze_begin",
    dependencies=WRITE,
    summary="Freeze everything, or one target",
    responses=route_responses(FreezeDone, 409, 422),
    openapi_extra=request_body(
        FREEZE_REQUEST,
        examples={"everything": {"note": "provider incident"}, "one target": {"target": "log"}},
        required=False,
    ),
)
async def freeze(request: Request) -> Response:
    """Lets nothing begin any more on any node.

    The answer waits up to 5 seconds until every live node obeys. Attempts under way go on. Freezing
    what is frozen changes only its note and its end.
    """
    asked = FREEZE_REQUEST.read_whole_body(await _read_body(request), MESSAGE)
    backend = backend_of(request)
    now = (await backend.overview()).now
    check_freeze(asked, sorted(backend.targets()), now)
    done = await backend.brakes.freeze(
        asked.target, actor_of(request), until=asked.until, note=asked.note
    )
    receipt = await backend.brakes.wait_until_obeyed(done, WAIT_S)
    return JSONResponse(
        {
            "success": True,
            "scope": done.brake.scope,
            "frozen_at": instant_text(done.brake.frozen_at),
            "until": instant_text(done.brake.thaw_at),
            "changed": done.changed,
            "applied": applied_field(receipt),
        }
    )


@router.post(
    "/thaw",
    name="freeze_end",
    dependencies=ADMIN,
    summary="End a freeze",
    responses=route_responses(ThawDone, 409, 422),
    openapi_extra=request_body(
        THAW_REQUEST,
        examples={
            "what came due is held": {},
            "what came due goes by its grace": {"overdue": "policy", "confirm": 12},
        },
        required=False,
    ),
)
async def thaw(request: Request) -> Response:
    """Ends a freeze; `overdue` says what becomes of the occurrences that came due meanwhile.

    With `policy` they may begin at once: 409 with their number unless `confirm` is at least that.
    """
    asked = THAW_REQUEST.read_whole_body(await _read_body(request), MESSAGE)
    done = await backend_of(request).brakes.thaw(
        asked.target,
        actor_of(request),
        overdue=asked.overdue,
        confirm=asked.confirm,
        note=asked.note,
    )
    counts = {each: done.waiting if each is done.overdue else 0 for each in Overdue}
    return JSONResponse(
        {
            "success": True,
            "scope": done.scope,
            "held": counts[Overdue.HOLD],
            "skipped": counts[Overdue.SKIP],
            "left_to_policy": counts[Overdue.POLICY],
        }
    )


def applied_field(receipt: Receipt) -> dict[str, Any]:
    """Return an Applied."""
    return {
        "all": receipt.is_complete,
        "waited_ms": round(receipt.waited * 1000),
        "nodes": [
            {
                "node": each.node,
                "applied": each.applied,
                "heartbeat_at": instant_text(each.heartbeat_at),
            }
            for each in receipt.nodes
        ],
    }


async def _read_body(request: Request) -> Any:
    raw = await read_json_bytes(request)
    return parse_json(raw, MESSAGE) if raw.strip() else {}
