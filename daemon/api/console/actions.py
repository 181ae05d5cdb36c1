"""The buttons: commands on campaigns and runs, each a form that is sent and then shows a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from daemon.api.console.rendering import DONE_PARAMETERS
from daemon.api.console.viewer import Viewer, Writer, safe_next
from daemon.api.requests import backend_of, parse_ref, parse_run_id
from daemon.campaign_service import CampaignService
from daemon.domain.campaign.command_request import COMMAND_REQUEST, MESSAGE, PAUSE_REQUEST
from daemon.domain.campaign.model import Campaign, Run
from daemon.domain.campaign.state_machine import Event, RunStatus, Status, statuses_that_allow
from daemon.domain.errors import CampaigndError, InvalidInput
from daemon.domain.listing import RunFilter
from daemon.domain.requests.datetimes import parse_datetime

router = APIRouter(include_in_schema=False)

Command = Callable[..., Awaitable[object]]
"""A method of the campaign service, of a campaign and an actor."""

COMMANDS: dict[str, tuple[Event, Command]] = {
    "pause": (Event.PAUSE, CampaignService.pause),
    "start": (Event.START, CampaignService.start),
    "run_now": (Event.RUN_NOW, CampaignService.run_now),
    "rerun": (Event.RERUN, CampaignService.rerun),
    "stop": (Event.STOP, CampaignService.stop),
    "archive": (Event.ARCHIVE, CampaignService.archive),
    "unarchive": (Event.UNARCHIVE, CampaignService.unarchive),
    "delete": (Event.DELETE, CampaignService.delete_campaign),
}
"""The buttons of a campaign: the event of the lifecycle, and the command."""
TYPED = frozenset({"stop", "delete"})
"""The commands that cannot be undone, and therefore ask for the campaign's name."""
MANY = ("pause", "start", "archive")
"""The commands on several campaigns that are ticked in a list."""
_MOST_TICKED = 200


def commands_for(campaign: Campaign) -> list[str]:
    """Return the commands that the campaign's status allows."""
    allowed = [
        name
        for name, (event, _) in COMMANDS.items()
        if campaign.status in statuses_that_allow(event, campaign.type)
    ]
    # A campaign that was started before does not change.
    live = (Status.SCHEDULED, Status.LAUNCHED, Status.EXECUTING)
    return [name for name in allowed if name != "start" or campaign.status not in live]


def held_commands(run: Run) -> list[str]:
    """Return the decisions on a held run; only one without an attempt can be dropped."""
    return ["release", "fail" if run.attempt else "drop"]


def run_commands_for(run: Run, campaign: Campaign) -> list[str]:
    """Return the commands that a run's status allows."""
    if run.status is RunStatus.HELD:
        return held_commands(run)
    is_retried = campaign.status in statuses_that_allow(Event.RETRY, campaign.type)
    return ["retry"] if run.status is RunStatus.FAILED and is_retried else []


@router.post("/campaigns/many")
async def act_on_many(request: Request, viewer: Writer) -> Response:
    """Carry out one command on each campaign that is ticked; a refusal stops no other."""
    sent = await request.form()
    name = str(sent.get("command", ""))
    if name not in MANY:
        raise InvalidInput(400, "Invalid form", f"the command is one of {', '.join(MANY)}")
    ids = [int(each) for each in map(str, sent.getlist("id")) if each.isdecimal()][:_MOST_TICKED]
    done, refused = [], 0
    for campaign_id in ids:
        try:
            await _execute(request, viewer, name, campaign_id)
            done.append(campaign_id)
        except CampaigndError:
            refused += 1
    where = safe_next(str(sent.get("next", "/campaigns")))
    return _redirect(where, done=f"many_{name}", n=len(done), refused=refused or None, ids=done)


@router.post("/campaigns/{ref}/copy")
async def copy(request: Request, viewer: Writer, ref: str) -> Response:
    """Copy a campaign to a draft, and show that."""
    made = await backend_of(request).service.copy_campaign(parse_ref(ref), viewer.actor)
    return _redirect(f"/campaigns/{made.campaign.id}", done="copy")


@router.post("/campaigns/{ref}/{command}")
async def act(request: Request, viewer: Writer, ref: str, command: str) -> Response:
    """Carry out one command on a campaign."""
    if command not in COMMANDS:
        raise InvalidInput(404, "Page not found", f"a campaign has no command {command!r}")
    sent = await request.form()
    identity = parse_ref(ref)
    campaign = (await backend_of(request).reads.campaign(identity)).campaign
    if command in TYPED and str(sent.get("name", "")).strip() != campaign.name.strip():
        raise InvalidInput(
            400, "Not done", f"the name that was typed is not that of the campaign, {campaign.name}"
        )
    await _execute(request, viewer, command, campaign.id, **_given(command, sent))
    if command == "delete":
        return _redirect("/campaigns", done="delete")
    done = "resume" if command == "start" and campaign.status is Status.PAUSED else command
    return _redirect(safe_next(str(sent.get("next", f"/campaigns/{campaign.id}"))), done=done)


@router.post("/runs/many")
async def retry_many(request: Request, viewer: Writer) -> Response:
    """Retry the failed runs of one target since an instant; a refusal stops no other."""
    sent = await request.form()
    backend = backend_of(request)
    since = parse_datetime(str(sent.get("since", "")))
    if since is None or since.tzinfo is None:
        raise InvalidInput(400, "Invalid form", "since must be an instant")
    wanted = RunFilter(status=RunStatus.FAILED, target=str(sent.get("target", "")), since=since)
    done = refused = 0
    for found in (await backend.search.runs(wanted, limit=_MOST_TICKED)).runs:
        try:
            await backend.service.retry(found.run.id, viewer.actor)
            done += 1
        except CampaigndError:
            refused += 1
    return _redirect("/", done="many_retry", n=done, refused=refused or None)


@router.post("/runs/{run_id}/{command}")
async def act_on_run(request: Request, viewer: Writer, run_id: str, command: str) -> Response:
    """Retry a failed run, or decide on a held one."""
    service = backend_of(request).service
    commands: dict[str, Callable[[UUID, str], Awaitable[object]]] = {
        "retry": service.retry,
        "release": service.release,
        "drop": service.drop,
        "fail": service.fail_held,
    }
    if command not in commands:
        raise InvalidInput(404, "Page not found", f"a run has no command {command!r}")
    identity = parse_run_id(run_id)
    sent = await request.form()
    await commands[command](identity, viewer.actor)
    return _redirect(safe_next(str(sent.get("next", f"/runs/{identity}"))), done=command)


def _given(command: str, sent: FormData) -> dict[str, Any]:
    """Return the fields of a command's form: a note, and the end of a pause."""
    if command == "delete":  # its history goes with it
        return {}
    fields = PAUSE_REQUEST if command == "pause" else COMMAND_REQUEST
    body = {name: str(sent[name]) for name in fields.fields if sent.get(name)}
    return fields.read_whole_body(body, MESSAGE)._asdict()


async def _execute(
    request: Request, viewer: Viewer, name: str, campaign_id: int, **given: Any
) -> None:
    await COMMANDS[name][1](backend_of(request).service, campaign_id, viewer.actor, **given)


def _redirect(where: str, **more: object) -> Response:
    """Redirect to a path of this site, with what was done in its query."""
    parts = urlsplit(where)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in DONE_PARAMETERS]
    for name, value in more.items():
        if value is None:
            continue
        query.append((name, ".".join(map(str, value)) if isinstance(value, list) else str(value)))
    url = f"{parts.path}?{urlencode(query)}"
    return RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})
