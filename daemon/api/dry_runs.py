"""Dry runs: requests that show what they would change."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from daemon.api.requests import backend_of, if_match_condition, parse_ref
from daemon.api.responses import dry_run_response
from daemon.campaign_service import ScheduleCommand


async def compare_schedules(
    request: Request, campaign: str, command: ScheduleCommand, days: int, body: object = None
) -> Response:
    """Return what a command would change; nothing is written, and no idempotency key is kept.

    Args:
        request: with its If-Match header.
        campaign: the campaign's id or uuid, as in the path.
        command: the command whose effect is shown.
        days: the days from now that are compared.
        body: the schedule's body, of a save.
    """
    found = await backend_of(request).service.dry_run(
        parse_ref(campaign), command, body, days=days, expect=if_match_condition(request)
    )
    return JSONResponse(dry_run_response(found))
