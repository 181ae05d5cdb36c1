"""The pages of the nodes, of the targets and of the audit log."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from daemon.api.console.rendering import render_page
from daemon.api.console.viewer import Admin, Reader, Writer
from daemon.api.pagination import decode_cursor, encode_cursor
from daemon.api.requests import backend_of
from daemon.domain.audit import Action, AuditEntry, AuditOutcome
from daemon.domain.errors import NotFound

router = APIRouter(include_in_schema=False)

PAGE = 50
"""Rows of the audit log."""


@router.get("/nodes")
async def show_nodes(request: Request, viewer: Reader) -> Response:
    """Show the nodes of this database, and what they do now."""
    return render_page(request, viewer, "nodes.html", overview=await backend_of(request).overview())


@router.get("/targets")
async def show_targets(request: Request, viewer: Reader) -> Response:
    """Show the targets: their circuits on the nodes, and the runs of the last hour."""
    backend = backend_of(request)
    states = await backend.target_states.states(backend.targets())
    return render_page(request, viewer, "targets.html", states=states)


@router.post("/targets/{name}/resume")
async def resume_target(request: Request, viewer: Writer, name: str) -> Response:
    """End the pause of a target on every node."""
    backend = backend_of(request)
    if name not in backend.targets():
        raise NotFound(message="Target not found", detail=f"no target is called {name!r}")
    await backend.target_states.resume(name, viewer.actor)
    return RedirectResponse("/targets?done=target_resume", 303)


@router.post("/targets/{name}/test")
async def try_target(request: Request, viewer: Writer, name: str) -> Response:
    """Send a test message to a target, and show what came of it."""
    backend = backend_of(request)
    tested = await backend.test_target(name, viewer.actor)
    entry = AuditEntry(
        Action.TARGET_TESTED,
        "target",
        name,
        name,
        AuditOutcome.DONE if tested.delivered else AuditOutcome.FAILED,
        note=tested.detail,
        actor=viewer.actor,
    )
    await backend.audit.record(entry)
    states = await backend.target_states.states(backend.targets())
    return render_page(request, viewer, "targets.html", states=states, tested=tested, name=name)


@router.get("/audit")
async def show_audit_log(request: Request, viewer: Admin) -> Response:
    """Show who changed what, newest first."""
    asked = request.query_params
    action = Action(asked["action"]) if asked.get("action") in set(Action) else None
    before = decode_cursor(asked.get("cursor"), int)
    found = await backend_of(request).audit.page(
        limit=PAGE + 1,
        before=before and before[0],
        actor=asked.get("actor") or None,
        action=action,
        object_id=asked.get("object") or None,
    )
    cursor = encode_cursor(found[PAGE - 1].id) if len(found) > PAGE else None
    return render_page(
        request,
        viewer,
        "audit.html",
        rows=found[:PAGE],
        actions=list(Action),
        action=action,
        cursor=cursor,
    )
