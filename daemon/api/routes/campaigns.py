"""Campaigns: create, list, read, delete, and the lifecycle commands."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from daemon.api.auth import READ, WRITE
from daemon.api.idempotency import run_idempotently
from daemon.api.openapi import (
    CampaignRef,
    Cursor,
    IdempotencyKey,
    Limit,
    request_body,
    route_responses,
)
from daemon.api.pagination import decode_cursor, page_response
from daemon.api.requests import actor_of, backend_of, parse_json, parse_ref, read_json_bytes
from daemon.api.response_models import CampaignDeleted, CampaignPage, CampaignResponse, CommandDone
from daemon.api.responses import (
    ResponseData,
    campaign_list_item,
    campaign_response,
    command_response,
    next_run_of,
)
from daemon.campaign_service import CampaignService, CommandResult
from daemon.domain.campaign.create_request import MESSAGE, NEW_CAMPAIGN, read_campaign
from daemon.domain.campaign.state_machine import Status
from daemon.domain.schedule.schedule import CampaignType

router = APIRouter(tags=["Campaigns"])


@router.post(
    "/campaigns",
    dependencies=WRITE,
    summary="Create a campaign",
    status_code=201,
    responses=route_responses(CampaignResponse, 409, 422, status=201, headers=["Location"]),
    openapi_extra=request_body(
        NEW_CAMPAIGN,
        examples={
            "weekly letter": {
                "name": "Weekly letter",
                "type": "recurring",
                "timezone": "Europe/Paris",
                "payload": {"template": "letter"},
            }
        },
    ),
)
async def create_campaign(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Creates a draft. A draft runs when it has a schedule or is started."""
    raw = await read_json_bytes(request)
    value = parse_json(raw, MESSAGE)

    async def create_draft(service: CampaignService) -> ResponseData:
        draft = read_campaign(value, backend_of(request).targets())
        created = await service.create(draft, actor_of(request))
        location = {"Location": f"/api/v1/campaigns/{created.id}"}
        return ResponseData(campaign_response(created), 201, location)

    return await run_idempotently(request, create_draft, raw)


@router.get(
    "/campaigns",
    dependencies=READ,
    summary="List campaigns",
    responses=route_responses(CampaignPage),
)
async def list_campaigns(
    request: Request,
    status: Status | None = None,
    type: CampaignType | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Returns campaigns without their payloads, newest first."""
    before = decode_cursor(cursor, int)
    found = await backend_of(request).reads.campaigns(
        limit=limit + 1, before=before and before[0], status=status, type=type
    )
    return page_response(found, limit, campaign_list_item, lambda listed: (listed.campaign.id,))


@router.get(
    "/campaigns/{ref}",
    dependencies=READ,
    summary="Read a campaign",
    responses=route_responses(CampaignResponse, 404),
)
async def show_campaign(request: Request, ref: CampaignRef) -> Response:
    """Returns a campaign with its payload and its next run."""
    shown = await backend_of(request).reads.campaign(parse_ref(ref))
    return JSONResponse(campaign_response(shown.campaign, next_run_of(shown)))


@router.delete(
    "/campaigns/{ref}",
    dependencies=WRITE,
    summary="Delete a campaign",
    responses=route_responses(CampaignDeleted, 404, 409),
)
async def delete_campaign(request: Request, ref: CampaignRef) -> Response:
    """Deletes a draft or archived campaign with its history."""
    await backend_of(request).service.delete_campaign(parse_ref(ref), actor_of(request))
    return JSONResponse({"success": True, "message": "Campaign deleted"})


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
    "archive": ("Archive a campaign", "Campaign archived", "Archives a campaign that has ended."),
    "unarchive": (
        "Unarchive a campaign",
        "Campaign unarchived",
        "Restores the status that the campaign had before it was archived.",
    ),
}
"""Summary, `message` and description of each command."""


def _add_command_route(name: str, summary: str, message: str, description: str) -> None:
    """Add the route of one command."""

    async def run_command(
        request: Request, ref: CampaignRef, idempotency_key: IdempotencyKey = None
    ) -> Response:
        identity = parse_ref(ref)

        async def execute(service: CampaignService) -> ResponseData:
            command = getattr(service, name)
            result: CommandResult = await command(identity, actor_of(request))
            return ResponseData({**command_response(result, message), "changed": result.changed})

        return await run_idempotently(request, execute, key_required=name == "rerun")

    router.add_api_route(
        f"/campaigns/{{ref}}/{name}",
        run_command,
        methods=["POST"],
        name=name,
        summary=summary,
        description=description,
        dependencies=WRITE,
        responses=route_responses(CommandDone, 404, 409, 422),
    )


for _name, _texts in _COMMANDS.items():
    _add_command_route(_name, *_texts)
