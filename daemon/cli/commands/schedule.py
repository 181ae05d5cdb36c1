"""`campaignd schedule REF [FILE]`: save, clear or preview a schedule."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from daemon.cli.client import Client
from daemon.cli.commands.lifecycle import command_result_line
from daemon.cli.confirm import confirm
from daemon.cli.context import command_line_actor
from daemon.cli.occurrences import print_schedule
from daemon.cli.options import YesOption, displays
from daemon.cli.output import print_json
from daemon.cli.refs import RefArgument
from daemon.cli.screen import Output, screen
from daemon.cli.store import with_client
from daemon.domain.campaign.schedule_fields import next_run_fields
from daemon.domain.errors import INVALID_CONFIGURATION, InvalidInput
from daemon.domain.preview import LONGEST_LINE, MOST_OCCURRENCES, campaign_answer
from daemon.domain.requests import is_schedule_body


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
                    "notes": result.notes,
                }
            )
        else:
            print(command_result_line(result, with_next_run=result.schedule is not None))
            print_notes(result.notes)

    return with_client(context, write_or_preview)


async def _preview_schedule(
    client: Client, ref: Any, body: object, count: int, as_json: bool
) -> None:
    shown = await client.reads.campaign(ref)
    saved = client.service.parse_schedule(shown.snapshot, body)
    answer = campaign_answer(saved, shown.current, shown.now, count)
    if as_json:
        print_json(answer)
        return
    if saved.schedule is None:
        print("the schedule would be cleared")
        return
    print_notes(answer.get("notes", ()))
    print_schedule(saved.schedule, shown.now, count)


def print_notes(notes: Iterable[str]) -> None:
    """Print what a saved schedule does that the operator may not expect."""
    for note in notes:
        print(f"note: {note}")


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
