"""The commands that move a campaign: start, pause, stop, rerun, run now, archive, unarchive."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.auth import WRITE
from daemon.api.dry_runs import compare_schedules
from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import (
    CampaignRef,
    Days,
    DryRunQuery,
    IdempotencyKey,
    request_body,
    route_responses,
)
from daemon.api.requests import actor_of, parse_json, parse_ref, read_json_bytes
from daemon.api.response_models import CommandDone, CommandDoneOrCompared
from daemon.api.responses import ResponseData, command_response
from daemon.campaign_service import CampaignService, CommandResult
from daemon.domain.campaign.command_request import COMMAND_REQUEST, MESSAGE, PAUSE_REQUEST
from daemon.domain.requests.declaration import Body

router = APIRouter(tags=["Lifecycle"])

_COMMANDS: dict[str, tuple[str, str, str]] = {
    "start": (
        "Start a campaign",
        "Campaign started",
        "Arms a draft with a schedule, runs a draft without a schedule now, or resumes a paused "
        "campaign. A campaign that was started before does not change.",
    ),
    "pause": (
        "Pause a campaign",
        "Campaign paused",
        "Starts no new run until the campaign is started again, or until an instant. Open runs end "
        "normally. Pausing a paused campaign changes the end of the pause and its note.",
    ),
    "stop": (
        "Stop a campaign",
        "Campaign stopped",
        "Cancels the campaign and its open runs immediately.",
    ),
    "rerun": (
        "Run an ended campaign again",
        "Campaign runs again",
        "Runs the campaign once, now; its status then returns to the final one. "
        "Requires an Idempotency-Key.",
    ),
    "run_now": (
        "Run a live campaign now",
        "Campaign runs now",
        "Runs the campaign once, now; its schedule goes on as it is. While a run is open, the "
        "schedule's `overlap` decides: the run waits, runs beside it, or is refused. Requires an "
        "Idempotency-Key.",
    ),
    "archive": ("Archive a campaign", "Campaign archived", "Archives a campaign that has ended."),
    "unarchive": (
        "Unarchive a campaign",
        "Campaign unarchived",
        "Restores the status that the campaign had before it was archived.",
    ),
}
"""Summary, `message` and description of each command."""
_EXAMPLES: dict[str, Any] = {"with a note": {"note": "asked for by marketing"}}
_PAUSE_EXAMPLES: dict[str, Any] = {
    "for good": {},
    "for a holiday": {"until": "2031-08-24T00:00", "note": "summer holidays"},
}
_SENDS = frozenset({"rerun", "run_now"})
"""The commands that send something each time, so that a repeated request needs a key."""


async def read_command(request: Request, fields: Body[Any]) -> tuple[bytes, dict[str, Any]]:
    """Return the body of a command, which may be empty, and the values of its fields."""
    raw = await read_json_bytes(request)
    body = parse_json(raw, MESSAGE) if raw.strip() else {}
    return raw, fields.read_whole_body(body, MESSAGE)._asdict()


def _add_command_route(name: str, summary: str, message: str, description: str) -> None:
    """Add the route of one command."""
    fields, examples = (
        (PAUSE_REQUEST, _PAUSE_EXAMPLES) if name == "pause" else (COMMAND_REQUEST, _EXAMPLES)
    )

    async def run_command(
        request: Request, ref: CampaignRef, idempotency_key: IdempotencyKey = None
    ) -> Response:
        identity = parse_ref(ref)
        raw, given = await read_command(request, fields)

        async def execute(service: CampaignService) -> ResponseData:
            command = getattr(service, name)
            result: CommandResult = await command(identity, actor_of(request), **given)
            run_id = None if result.run_id is None else str(result.run_id)
            return ResponseData(
                {**command_response(result, message), "changed": result.changed, "run_id": run_id}
            )

        return await run_idempotently(request, execute, raw, key_required=name in _SENDS)

    async def start_or_compare(
        request: Request,
        ref: CampaignRef,
        idempotency_key: IdempotencyKey = None,
        dry_run: DryRunQuery = "false",
        days: Days = 30,
    ) -> Response:
        if dry_run == "true":
            return await compare_schedules(request, ref, "start", days)
        return await run_command(request, ref, idempotency_key)

    is_start = name == "start"
    router.add_api_route(
        f"/campaigns/{{ref}}/{name}",
        start_or_compare if is_start else run_command,
        methods=["POST"],
        name=f"campaign_{name}",
        summary=summary,
        description=description,
        dependencies=WRITE,
        responses=route_responses(
            CommandDoneOrCompared if is_start else CommandDone, 404, 409, 422
        ),
        openapi_extra=request_body(fields, examples=examples, required=False),
    )


for _name, _texts in _COMMANDS.items():
    _add_command_route(_name, *_texts)
