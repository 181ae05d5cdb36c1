"""`campaignd schedule REF [FILE]`: save, clear or preview a schedule."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from daemon.campaign_service import CommandResult
from daemon.cli.client import Client
from daemon.cli.commands.lifecycle import command_result_line
from daemon.cli.confirm import confirm
from daemon.cli.context import command_line_actor
from daemon.cli.occurrences import print_schedule
from daemon.cli.options import YesOption, displays
from daemon.cli.output import print_json, print_table
from daemon.cli.refs import RefArgument
from daemon.cli.screen import Output, screen
from daemon.cli.store import with_client
from daemon.domain.campaign.schedule_fields import next_run_fields
from daemon.domain.errors import INVALID_CONFIGURATION, InvalidInput
from daemon.domain.preview import LONGEST_LINE, MOST_OCCURRENCES, campaign_answer
from daemon.domain.requests import is_schedule_body
from daemon.domain.requests.notes import affected_by_clock_changes
from daemon.domain.requests.send_window import names_calendars


@displays
def schedule(
    context: typer.Context,
    ref: RefArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The JSON body; - is standard input.")
    ] = Path("-"),
    clear: Annotated[bool, typer.Option("--clear", help="Delete the schedule.")] = False,
    preview: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MOST_OCCURRENCES,
            help="Show the next N runs of the body, and save nothing.",
        ),
    ] = None,
    yes: YesOption = False,
) -> int:
    """Save, clear or preview a campaign's schedule.

    Both schedule bodies of the API are accepted: `schedule` and `update_schedule`.
    """
    if clear and (preview is not None or str(file) != "-"):
        raise typer.BadParameter("--clear takes neither a body nor --preview")
    body = None if clear else read_json_file(file)
    as_json = screen().output is not Output.TABLE
    if clear:
        confirm(f"Delete the schedule of campaign {ref}?", yes=yes)

    async def write_or_preview(client: Client) -> None:
        wanted = await client.campaign_ref(ref)
        if clear:
            result = await client.service.clear_schedule(wanted, command_line_actor())
        elif preview is not None:
            await _preview_schedule(client, wanted, body, preview, as_json)
            return
        elif is_schedule_body(body):
            result = await client.service.save_schedule(wanted, body, command_line_actor())
        else:
            result = await client.service.update_schedule(wanted, body, command_line_actor())
        if as_json:
            print_json(
                {
                    "campaign_id": result.campaign_id,
                    "campaign_uuid": result.campaign_uuid,
                    "from_status": result.from_status,
                    "to_status": result.to_status,
                    "timezone": result.timezone,
                    **next_run_fields(result.next_run_at, result.timezone),
                    "due_at": result.due_at,
                    "notes": result.notes,
                    "dst_affected": [] if clear else _affected(result),
                }
            )
        else:
            print(command_result_line(result, with_next_run=result.schedule is not None))
            print_notes(result.notes)
            _print_affected(_affected(result))

    return with_client(context, write_or_preview)


async def _preview_schedule(
    client: Client, ref: Any, body: object, count: int, as_json: bool
) -> None:
    shown = await client.reads.campaign(ref, with_calendars=names_calendars(body))
    saved = client.service.parse_schedule(shown.snapshot, body)
    answer = campaign_answer(saved, shown.snapshot, count)
    if as_json:
        print_json(answer)
        return
    if saved.schedule is None:
        print("the schedule would be cleared")
        return
    print_notes(answer.get("notes", ()))
    _print_affected(answer.get("dst_affected", ()))
    if "runs" in answer:
        rows = [(run["local"], run["scheduled_for"], _outcome(run)) for run in answer["runs"]]
        print_table((saved.schedule.timezone, "UTC", "then"), rows, "no timed runs")
        return
    print_schedule(saved.schedule, shown.now, count)


def print_notes(notes: Iterable[str]) -> None:
    """Print what a saved schedule does that the operator may not expect."""
    for note in notes:
        print(f"note: {note}")


def _affected(result: CommandResult) -> list[dict[str, Any]]:
    schedule = result.schedule
    return [] if schedule is None else affected_by_clock_changes(schedule, result.now)


def _print_affected(affected: Iterable[dict[str, Any]]) -> None:
    for each in affected:
        when = "does not exist" if each["kind"] == "gap" else "is there twice"
        runs = ", ".join(each["at"]) or "no run"
        print(f"clock change: {each['local']} {when} ({each['policy']}): {runs}")


def _outcome(run: dict[str, Any]) -> str:
    """Return what becomes of an occurrence that preview lists."""
    if run["why"] is None:
        return "starts"
    due = f", until {run['due_at']}" if run["due_at"] != run["scheduled_for"] else ""
    return f"{run['why']}{due}"


def read_json_file(file: Path) -> object:
    """Return the JSON value in a file; - is standard input. Raises InvalidInput."""
    raw = _read_bytes(file)
    try:
        return json_module.loads(raw.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(400, INVALID_CONFIGURATION, f"the body is not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def _read_bytes(file: Path) -> bytes:
    if str(file) == "-":
        raw = sys.stdin.buffer.read(LONGEST_LINE + 1)
    else:
        with file.open("rb") as source:
            raw = source.read(LONGEST_LINE + 1)
    if len(raw) > LONGEST_LINE:
        raise InvalidInput(
            413, INVALID_CONFIGURATION, f"the body is longer than {LONGEST_LINE} bytes"
        )
    return raw
