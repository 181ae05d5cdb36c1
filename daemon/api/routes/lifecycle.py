"""The commands that move a campaign: start, pause, stop, rerun, run now, archive, unarchive."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.auth import WRITE
from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import CampaignRef, IdempotencyKey, route_responses
from daemon.api.requests import actor_of, parse_ref
from daemon.api.response_models import CommandDone
from daemon.api.responses import ResponseData, command_response
from daemon.campaign_service import CampaignService, CommandResult

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
        "Starts no new run until the campaign is started again. Open runs end normally.",
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
_SENDS = frozenset({"rerun", "run_now"})
"""The commands that send something each time, so that a repeated request needs a key."""


def _add_command_route(name: str, summary: str, message: str, description: str) -> None:
    """Add the route of one command."""

    async def run_command(
        request: Request, ref: CampaignRef, idempotency_key: IdempotencyKey = None
    ) -> Response:
        identity = parse_ref(ref)

        async def execute(service: CampaignService) -> ResponseData:
            command = getattr(service, name)
            result: CommandResult = await command(identity, actor_of(request))
            run_id = None if result.run_id is None else str(result.run_id)
            return ResponseData(
                {**command_response(result, message), "changed": result.changed, "run_id": run_id}
            )

        return await run_idempotently(request, execute, key_required=name in _SENDS)

    router.add_api_route(
        f"/campaigns/{{ref}}/{name}",
        run_command,
        methods=["POST"],
        name=f"campaign_{name}",
        summary=summary,
        description=description,
        dependencies=WRITE,
        responses=route_responses(CommandDone, 404, 409, 422),
    )


for _name, _texts in _COMMANDS.items():
    _add_command_route(_name, *_texts)
