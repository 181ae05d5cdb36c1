"""Campaigns: create, list, read, delete, and what a person may tell one to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from daemon.api import pagination
from daemon.api.auth import needs
from daemon.api.idempotency import backend_of, run_idempotently
from daemon.api.openapi import CampaignRef, Cursor, IdempotencyKey, Limit, answers, body
from daemon.api.ports import Options
from daemon.api.requests import actor_of, parse_json, parse_ref, read_body
from daemon.api.response_models import ActedAnswer, CampaignAnswer, CampaignPage, DeletedAnswer
from daemon.api.responses import Answer, acted, campaign_answer, listed_item, shown_next
from daemon.campaign_service import CampaignService, CommandResult
from daemon.domain.api_keys import Scope
from daemon.domain.campaign.create_request import MESSAGE, NEW_CAMPAIGN, read_campaign
from daemon.domain.campaign.state_machine import Status
from daemon.domain.schedule.schedule import CampaignType

READ = [Depends(needs(Scope.READ))]
WRITE = [Depends(needs(Scope.WRITE))]

router = APIRouter(tags=["Campaigns"])


def body_limit(request: Request) -> int:
    """The most bytes that a body may have."""
    options = request.app.state.options
    assert isinstance(options, Options)
    return options.body_limit


@router.post(
    "/campaigns",
    dependencies=WRITE,
    summary="Create a campaign",
    status_code=201,
    responses=answers(CampaignAnswer, 409, 422, status=201, headers=["Location"]),
    openapi_extra=body(
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
    """A new draft. It runs once it has a schedule or is started."""
    raw = await read_body(request, body_limit(request))
    value = parse_json(raw, MESSAGE)

    async def act(control: CampaignService) -> Answer:
        asked = read_campaign(value, backend_of(request).targets())
        made = await control.create(asked, actor_of(request))
        where = {"Location": f"/api/v1/campaigns/{made.id}"}
        return Answer(campaign_answer(made), 201, where)

    return await run_idempotently(request, act, raw)


@router.get(
    "/campaigns",
    dependencies=READ,
    summary="List campaigns",
    responses=answers(CampaignPage),
)
async def list_campaigns(
    request: Request,
    status: Status | None = None,
    type: CampaignType | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Campaigns, newest first, without their payloads."""
    before = pagination.decode(cursor, int)
    found = await backend_of(request).reads.campaigns(
        limit=limit + 1, before=before and before[0], status=status, type=type
    )
    page = found[:limit]
    more = pagination.encode(page[-1].campaign.id) if len(found) > limit else None
    return JSONResponse({"items": [listed_item(each) for each in page], "next_cursor": more})


@router.get(
    "/campaigns/{ref}",
    dependencies=READ,
    summary="Read a campaign",
    responses=answers(CampaignAnswer, 404),
)
async def read_campaign_(request: Request, ref: CampaignRef) -> Response:
    """One campaign, with its payload and when it runs next."""
    shown = await backend_of(request).reads.campaign(parse_ref(ref))
    return JSONResponse(campaign_answer(shown.campaign, shown_next(shown)))


@router.delete(
    "/campaigns/{ref}",
    dependencies=WRITE,
    summary="Delete a campaign",
    responses=answers(DeletedAnswer, 404, 409),
)
async def delete_campaign(request: Request, ref: CampaignRef) -> Response:
    """A draft or archived campaign goes, with its history."""
    await backend_of(request).service.delete(parse_ref(ref), actor_of(request))
    return JSONResponse({"success": True, "message": "Campaign deleted"})


_Command = Callable[[CampaignService, int, str], Awaitable[CommandResult]]
_COMMANDS: dict[str, tuple[str, str, str]] = {
    "start": (
        "Start a campaign",
        "Campaign started",
        "Arms a draft with a schedule, runs one without a schedule now, resumes a paused one. "
        "What is started already stays as it is; the answer says when it runs.",
    ),
    "pause": (
        "Pause a campaign",
        "Campaign paused",
        "What is under way ends by itself; nothing new starts until the campaign is started.",
    ),
    "stop": (
        "Stop a campaign",
        "Campaign stopped",
        "Cancels the campaign and its open runs at once.",
    ),
    "rerun": (
        "Run an ended campaign again",
        "Campaign runs again",
        "One run now, then back to how it ended. Needs an Idempotency-Key.",
    ),
    "archive": ("Archive a campaign", "Campaign archived", "Puts away what has ended."),
    "unarchive": (
        "Unarchive a campaign",
        "Campaign unarchived",
        "Brings back what was archived, as it was.",
    ),
}


def _add(name: str, summary: str, message: str, text: str) -> None:
    """The route of one command."""

    async def command(
        request: Request, ref: CampaignRef, idempotency_key: IdempotencyKey = None
    ) -> Response:
        identity = parse_ref(ref)

        async def act(control: CampaignService) -> Answer:
            done: CommandResult = await getattr(control, name)(identity, actor_of(request))
            return Answer({**acted(done, message), "changed": done.changed})

        return await run_idempotently(request, act, key_required=name == "rerun")

    router.add_api_route(
        f"/campaigns/{{ref}}/{name}",
        command,
        methods=["POST"],
        name=name,
        summary=summary,
        description=text,
        dependencies=WRITE,
        responses=answers(ActedAnswer, 404, 409, 422),
    )


for _name, _texts in _COMMANDS.items():
    _add(_name, *_texts)
