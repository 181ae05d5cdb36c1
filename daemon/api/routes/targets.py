"""Targets: their state on the nodes, a test message, and the end of a pause."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response

from daemon.api.auth import READ, WRITE
from daemon.api.openapi import route_responses
from daemon.api.pagination import whole_list_response
from daemon.api.requests import actor_of, backend_of
from daemon.api.response_models import TargetItem, TargetPage, TargetResumed, TargetTestResponse
from daemon.api.responses import target_item
from daemon.domain.audit import Action, AuditEntry, AuditOutcome
from daemon.domain.errors import NotFound
from daemon.domain.requests.fields import shown_value

router = APIRouter(tags=["Targets"])

_Name = Annotated[str, Path(description="The name of a configured target.", examples=["log"])]


@router.get(
    "/targets",
    name="target_list",
    dependencies=READ,
    summary="List targets",
    responses=route_responses(TargetPage),
)
async def list_targets(request: Request) -> Response:
    """Returns the configured targets by name, with their circuits and the runs of the last hour."""
    backend = backend_of(request)
    states = await backend.target_states.states(backend.targets())
    return whole_list_response([target_item(state) for state in states])


@router.get(
    "/targets/{name}",
    name="target_read",
    dependencies=READ,
    summary="Read a target",
    responses=route_responses(TargetItem, 404),
)
async def read_target(request: Request, name: _Name) -> Response:
    """Returns a target: its circuit on each node, its queue, and the runs of the last hour."""
    _require_target(request, name)
    (state,) = await backend_of(request).target_states.states([name])
    return JSONResponse(target_item(state))


@router.post(
    "/targets/{name}/test",
    name="target_test",
    dependencies=WRITE,
    summary="Send a test message to a target",
    responses=route_responses(TargetTestResponse, 404),
)
async def test_target(request: Request, name: _Name) -> Response:
    """Sends a message of the type `campaign.test` from this node, signed like every other one.

    Its campaign id is 0 and its payload has `test` true. No run is made, and the circuit does not
    change.
    """
    backend, actor = backend_of(request), actor_of(request)
    tested = await backend.test_target(name, actor)
    outcome = AuditOutcome.DONE if tested.delivered else AuditOutcome.FAILED
    entry = AuditEntry(
        Action.TARGET_TESTED, "target", name, name, outcome, note=tested.detail, actor=actor
    )
    await backend.audit.record(entry)
    return JSONResponse(
        {
            "success": tested.delivered,
            "target": name,
            "outcome": tested.outcome,
            "detail": tested.detail,
            "run_id": str(tested.run_id),
            "duration_ms": round(tested.seconds * 1000, 3),
        }
    )


@router.post(
    "/targets/{name}/resume",
    name="target_resume",
    dependencies=WRITE,
    summary="Close the circuits of a target",
    responses=route_responses(TargetResumed, 404),
)
async def resume_target(request: Request, name: _Name) -> Response:
    """Ends a pause of a target that failed repeatedly, on every node within a second.

    A target that fails again is paused again. A frozen target stays frozen.
    """
    _require_target(request, name)
    await backend_of(request).target_states.resume(name, actor_of(request))
    return JSONResponse({"success": True, "message": "Target resumed", "target": name})


def _require_target(request: Request, name: str) -> None:
    if name not in backend_of(request).targets():
        raise NotFound(f"no target is called {shown_value(name)}", message="Target not found")
