"""The audit log; every call needs the scope admin."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from daemon.api.auth import ADMIN
from daemon.api.openapi import Cursor, Limit, route_responses
from daemon.api.pagination import decode_cursor, page_response
from daemon.api.requests import backend_of
from daemon.api.response_models import AuditPage
from daemon.api.responses import audit_item
from daemon.domain.audit import Action
from daemon.domain.errors import InvalidInput
from daemon.domain.requests.datetimes import parse_date_or_instant
from daemon.domain.requests.fields import datetime_fault

router = APIRouter(tags=["Audit log"], dependencies=ADMIN)


@router.get("/audit-log", summary="Read the audit log", responses=route_responses(AuditPage))
async def read_audit_log(
    request: Request,
    actor: Annotated[str | None, Query(description="Only rows of this actor.")] = None,
    action: Action | None = None,
    object_id: Annotated[
        str | None, Query(description="Only rows about the object with this id.")
    ] = None,
    since: Annotated[
        str | None,
        Query(description="Only rows from this date (00:00 UTC) or instant on."),
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Returns who changed what and who was refused, newest first."""
    before = decode_cursor(cursor, int)
    found = await backend_of(request).audit.page(
        limit=limit + 1,
        before=before and before[0],
        actor=actor,
        action=action,
        object_id=object_id,
        since=None if since is None else _parse_since(since),
    )
    return page_response(found, limit, audit_item, lambda row: (row.id,))


def _parse_since(text: str) -> datetime:
    at = parse_date_or_instant(text)
    if at is None:
        form = "a date, or an instant such as 2031-07-01T09:00:00Z"
        fault = datetime_fault(text, form)
        raise InvalidInput(400, "Invalid parameters", f"since {fault}", {"since": [fault]})
    return at
