"""`campaignd edit REF`: change a campaign and its schedule, by options or in an editor."""

from __future__ import annotations

import difflib
import json
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from config.environment import editor_command, whole_environment
from daemon.cli.client import Client
from daemon.cli.commands.create import SHOWN_RUNS
from daemon.cli.commands.schedule import print_notes
from daemon.cli.completing import complete_targets
from daemon.cli.confirm import confirm
from daemon.cli.context import command_line_actor
from daemon.cli.occurrences import print_schedule
from daemon.cli.options import YesOption
from daemon.cli.payloads import PayloadOption, read_payload_option
from daemon.cli.refs import RefArgument
from daemon.cli.schedule_options import (
    AtOption,
    EveryOption,
    FromOption,
    IntervalOption,
    OnceOption,
    OnOption,
    ScheduleOptions,
    UntilOption,
    ZoneOption,
    changed_body,
    require_zone,
    schedule_body,
)
from daemon.cli.screen import screen
from daemon.cli.store import with_client
from daemon.domain.campaign.edit_request import content_tag, read_campaign_patch, require_editable
from daemon.domain.errors import INVALID_CONFIGURATION, InvalidInput
from daemon.domain.read_models import CampaignDetail
from daemon.domain.requests import is_schedule_body
from daemon.domain.schedule.timezones import zone as zone_called

Document = dict[str, Any]
_FIELDS = ("name", "timezone", "target", "payload")


def edit(
    context: typer.Context,
    ref: RefArgument,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The new name.")] = None,
    every: EveryOption = None,
    on: OnOption = None,
    interval: IntervalOption = None,
    at: AtOption = None,
    once: OnceOption = None,
    start: FromOption = None,
    until: UntilOption = None,
    zone: ZoneOption = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The target that receives the runs.",
            autocompletion=complete_targets,
        ),
    ] = None,
    payload: PayloadOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; save nothing.")
    ] = False,
    yes: YesOption = False,
) -> int:
    """Change a campaign and its schedule, also in an editor.

    Without an option that changes something, $EDITOR opens the campaign as JSON. The schedule in
    words, its next runs and the difference are shown before a terminal is asked to save them.
    """
    options = ScheduleOptions(every, on, interval, at, once, start, until)
    fields = {"name": name, "timezone": zone, "target": target}
    fields |= {"payload": read_payload_option(payload)}  # type: ignore[dict-item]
    changed = {key: value for key, value in fields.items() if value is not None}
    if zone is not None:
        require_zone(zone)

    async def edit_campaign(client: Client) -> None:
        shown = await client.reads.campaign(await client.campaign_ref(ref))
        before = _document_of(shown)
        if changed or options.is_given:
            after = _changed_document(before, changed, options, shown.now)
        else:
            after = _edited_in_editor(before)
        if after == before:
            print(f"campaign {shown.campaign.id} is unchanged")
            return
        _check_and_show(client, shown, before, after)
        if dry_run:
            print("nothing is saved")
            return
        confirm("Save this?", yes=yes)
        await _save(client, shown, before, after)

    return with_client(context, edit_campaign)


def _document_of(shown: CampaignDetail) -> Document:
    campaign = {field: getattr(shown.campaign, field) for field in _FIELDS}
    return {"campaign": campaign, "schedule": shown.current and shown.current.body}


def _changed_document(
    before: Document, changed: dict[str, Any], options: ScheduleOptions, now: datetime
) -> Document:
    """Return the document with the options applied; a new zone is also that of the schedule."""
    campaign, schedule = {**before["campaign"], **changed}, before["schedule"]
    zone = changed.get("timezone")
    if schedule is not None and zone is not None:
        schedule = {**schedule, "timezone": zone}
        config = schedule.get("recurring_config")
        if isinstance(config, dict) and "time_zone" in config:
            schedule["recurring_config"] = {**config, "time_zone": zone}
    in_force = zone or _zone_of(schedule) or campaign["timezone"]
    if options.every is not None or options.once is not None:
        schedule = schedule_body(options, zone_called(in_force), now)
    elif options.is_given:
        if schedule is None:
            raise typer.BadParameter("there is no schedule: give --every DAYS or --once WHEN")
        schedule = changed_body(schedule, options, zone_called(in_force), now)
    return {"campaign": campaign, "schedule": schedule}


def _zone_of(schedule: dict[str, Any] | None) -> str | None:
    if schedule is None:
        return None
    config = schedule.get("recurring_config")
    inner = config.get("time_zone") if isinstance(config, dict) else None
    return inner or schedule.get("timezone")


def _edited_in_editor(before: Document) -> Document:
    """Return the document as the operator leaves it in $EDITOR."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        file.write(_text(before))
        file.flush()
        done = subprocess.run(
            [*shlex.split(editor_command()), file.name], env=whole_environment(), check=False
        )
        if done.returncode != 0:
            raise typer.BadParameter(f"the editor ended with {done.returncode}; nothing is saved")
        text = Path(file.name).read_text(encoding="utf-8-sig")
    try:
        after = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise InvalidInput(
            400, INVALID_CONFIGURATION, f"the text is not JSON: {error}; nothing is saved"
        ) from None
    campaign = after.get("campaign") if isinstance(after, dict) else None
    if not isinstance(campaign, dict) or set(after) != {"campaign", "schedule"}:
        raise InvalidInput(
            400,
            INVALID_CONFIGURATION,
            'must be an object with "campaign" and "schedule"; nothing is saved',
        )
    # A field that was taken out is meant to stay, except for those of the payload.
    return {**after, "campaign": {**before["campaign"], **campaign}}


def _check_and_show(
    client: Client, shown: CampaignDetail, before: Document, after: Document
) -> None:
    """Print the schedule in words, its next runs and the difference; refuse what is invalid."""
    values = read_campaign_patch(
        after["campaign"],
        shown.campaign,
        client.targets_with(after["campaign"]["target"]),
        replace_payload=True,
    )
    if after["schedule"] == before["schedule"]:
        require_editable(shown.snapshot, values)
    elif after["schedule"] is None:
        print("the schedule would be deleted")
    else:
        parsed = client.service.parse_schedule(shown.snapshot, after["schedule"])
        if parsed.schedule is not None:
            print_schedule(parsed.schedule, shown.now, SHOWN_RUNS)
    for line in _difference(before, after):
        print(line)


def _difference(before: Document, after: Document) -> Iterator[str]:
    """Yield the lines that differ, with a mark and a colour."""
    lines = difflib.unified_diff(
        _text(before).splitlines(), _text(after).splitlines(), lineterm="", n=0
    )
    for line in lines:
        if line.startswith(("---", "+++", "@@")):
            continue
        yield screen().style(line, "failed" if line.startswith("-") else "completed")


async def _save(client: Client, shown: CampaignDetail, before: Document, after: Document) -> None:
    """Save the schedule, then the campaign; each only if no other change came in between."""
    ref, actor, service = shown.campaign.id, command_line_actor(), client.service
    body = after["schedule"]
    if body != before["schedule"]:

        def is_as_shown(revision: int | None) -> bool:
            return revision == shown.revision

        if body is None:
            result = await service.clear_schedule(ref, actor, is_as_shown)
        elif is_schedule_body(body):
            result = await service.save_schedule(ref, body, actor, is_as_shown)
        else:
            result = await service.update_schedule(ref, body, actor, is_as_shown)
        print_notes(result.notes)
    if after["campaign"] != before["campaign"]:
        tag = content_tag(shown.campaign)
        edited = await service.edit_campaign(
            ref,
            after["campaign"],
            actor,
            targets=client.targets_with(after["campaign"]["target"]),
            expect=lambda found: found == tag,
            replace_payload=True,
        )
        if body == before["schedule"]:
            print_notes(edited.notes)
    print(f"campaign {ref} saved")


def _text(document: Document) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")
