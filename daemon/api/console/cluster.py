"""The pages of the nodes and of the audit log."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.console.rendering import render_page
from daemon.api.console.viewer import Admin, Reader
from daemon.api.pagination import decode_cursor, encode_cursor
from daemon.api.requests import backend_of
from daemon.domain.audit import Action

router = APIRouter(include_in_schema=False)

PAGE = 50
"""Rows of the audit log."""


@router.get("/nodes")
async def show_nodes(request: Request, viewer: Reader) -> Response:
    """Show the nodes of this database, and what they do now."""
    return render_page(request, viewer, "nodes.html", overview=await backend_of(request).overview())


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
