"""The audit log; every call needs the scope admin."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from daemon.api.auth import ADMIN
from daemon.api.openapi import Cursor, Limit, route_responses
from daemon.api.pagination import decode_cursor, page_response
from daemon.api.parameters import Label, parse_instant_parameter
from daemon.api.requests import backend_of
from daemon.api.response_models import AuditPage
from daemon.api.responses import audit_item
from daemon.domain.audit import Action

router = APIRouter(tags=["Audit log"], dependencies=ADMIN)


@router.get(
    "/audit-log",
    name="audit_log_list",
    summary="Read the audit log",
    responses=route_responses(AuditPage),
)
async def read_audit_log(
    request: Request,
    actor: Label = None,
    action: Action | None = None,
    object_id: Label = None,
    since: Annotated[
        str | None,
        Query(description="Only rows from this date (00:00 UTC) or instant on."),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Returns who changed what and who was refused, newest first."""
    position = decode_cursor(cursor, int)
    audit = backend_of(request).audit
    wanted: dict[str, Any] = {
        "actor": actor,
        "action": action,
        "object_id": object_id,
        "since": parse_instant_parameter("since", since),
    }
    found = await audit.page(limit=limit + 1, before=position and position[0], **wanted)
    counted = await audit.count(**wanted)
    return page_response(found, limit, audit_item, lambda row: (row.id,), counted)
