"""The findings of the auditor; the audit log is another route."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.auth import READ
from daemon.api.openapi import Cursor, Limit, route_responses
from daemon.api.pagination import decode_cursor, page_response
from daemon.api.requests import backend_of
from daemon.api.response_models import AuditFindingPage
from daemon.api.responses import audit_finding_item

router = APIRouter(tags=["Auditor"], dependencies=READ)


@router.get(
    "/audit",
    name="finding_list",
    summary="List findings of the auditor",
    responses=route_responses(AuditFindingPage),
)
async def list_findings(request: Request, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """Returns what contradicts the schedules now, oldest first.

    The nodes look all day; an empty page means that their last looks found nothing.
    """
    after = decode_cursor(cursor, int)
    found = await backend_of(request).findings.open_findings(
        limit=limit + 1, after=after[0] if after else 0
    )
    return page_response(found, limit, audit_finding_item, lambda each: (each.id or 0,))
