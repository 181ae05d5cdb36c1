"""`campaignd create NAME`: a new campaign, with its schedule in words and its next runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from daemon.cli.client import Client
from daemon.cli.commands.lifecycle import command_result_line
from daemon.cli.commands.schedule import print_notes, read_json_file
from daemon.cli.completing import complete_targets
from daemon.cli.context import command_line_actor
from daemon.cli.occurrences import print_schedule
from daemon.cli.options import displays
from daemon.cli.output import print_objects
from daemon.cli.payloads import PayloadOption, read_payload_option
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
    require_zone,
    schedule_body,
)
from daemon.cli.screen import Output, screen
from daemon.cli.store import with_client
from daemon.domain.campaign.create_request import read_campaign
from daemon.domain.campaign.model import Campaign, Snapshot
from daemon.domain.requests import ParsedSchedule, is_schedule_body
from daemon.domain.schedule.timezones import zone as zone_called

SHOWN_RUNS = 5


@displays
def create(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The name.", show_default=False)
    ] = None,
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
            help="The target that receives the runs; default: log.",
            autocompletion=complete_targets,
        ),
    ] = None,
    payload: PayloadOption = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help='A JSON object {"campaign": {...}, "schedule": {...}} instead of the options, as '
            "`export` writes it; - is standard input.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the schedule and its next runs; save nothing.")
    ] = False,
) -> int:
    """Create a campaign, and arm its schedule.

    Without --every, --once or a file with a schedule it is a draft, which `campaignd start` runs
    once.
    """
    options = ScheduleOptions(every, on, interval, at, once, start, until)
    fields: dict[str, Any] = {
        key: value
        for key, value in (
            ("name", name),
            ("timezone", zone),
            ("target", target),
            ("payload", read_payload_option(payload)),
        )
        if value is not None
    }
    given: object = None
    if file is not None:
        if fields or options.is_given:
            raise typer.BadParameter("--file takes no NAME and no option of a campaign")
        given = read_json_file(file)
        if not isinstance(given, dict) or not set(given) <= {"campaign", "schedule"}:
            raise typer.BadParameter(
                'must be an object with "campaign" and "schedule"', param_hint="--file"
            )
    elif name is None:
        raise typer.BadParameter("give a NAME, or --file FILE")
    if zone is not None:
        require_zone(zone)

    async def create_campaign(client: Client) -> None:
        now = screen().now
        if isinstance(given, dict):
            wanted = _target_of(given)
            draft = read_campaign(given.get("campaign") or {}, client.targets_with(wanted))
            body = given.get("schedule")
        else:
            draft = read_campaign(fields, client.targets_with(target))
            body = schedule_body(options, zone_called(draft.timezone), now)
        parsed = None
        if body is not None:
            # The schedule is read first, so that an invalid one leaves no draft behind.
            parsed = client.service.parse_schedule(Snapshot(draft, now), body)
        if dry_run:
            _print_dry_run(draft, parsed)
            return
        created = await client.service.create(draft, command_line_actor())
        await _save_and_print(client, created, body, parsed)

    return with_client(context, create_campaign, create=True)


async def _save_and_print(
    client: Client, created: Campaign, body: object, parsed: ParsedSchedule | None
) -> None:
    is_table = screen().output is Output.TABLE
    line, status = f"campaign {created.id} draft", created.status
    notes: tuple[str, ...] = ()
    if parsed is not None:
        save = (
            client.service.save_schedule
            if is_schedule_body(body)
            else client.service.update_schedule
        )
        result = await save(created.id, body, command_line_actor())
        line, status = command_result_line(result, with_next_run=False), result.to_status
        notes = result.notes
    if not is_table:
        print_objects(
            [{"id": created.id, "uuid": created.uuid, "name": created.name, "status": status}]
        )
        return
    print(line)
    print_notes(notes)
    if parsed is not None and parsed.schedule is not None:
        print_schedule(parsed.schedule, screen().now, SHOWN_RUNS)
    if status == "draft":
        print(f"next: campaignd start {created.id}")


def _target_of(given: dict[str, Any]) -> str | None:
    campaign = given.get("campaign")
    wanted = campaign.get("target") if isinstance(campaign, dict) else None
    return wanted if isinstance(wanted, str) else None


def _print_dry_run(draft: Campaign, parsed: ParsedSchedule | None) -> None:
    if parsed is None or parsed.schedule is None:
        print(f"{draft.name!r} would be a draft without a schedule; nothing is saved")
        return
    print_schedule(parsed.schedule, screen().now, SHOWN_RUNS)
    print("nothing is saved")
