"""`campaignd pause REF ...` and the other lifecycle commands; one line reports each new status."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated

import typer

from daemon.campaign_service import CommandResult
from daemon.cli.client import Client, ClientCommands
from daemon.cli.confirm import confirm
from daemon.cli.context import command_line_actor
from daemon.cli.notes import NoteOption, checked_note
from daemon.cli.options import YesOption
from daemon.cli.output import shown_instant
from daemon.cli.refs import RefsArgument
from daemon.cli.screen import screen
from daemon.cli.store import with_client
from daemon.cli.when import FORMS, parse_when, resolve_when
from daemon.domain.errors import CampaigndError
from daemon.domain.read_models import Ref
from daemon.domain.schedule.timezones import wall_clock

Command = Callable[[ClientCommands, Ref, str], Awaitable[CommandResult]]
NotedCommand = Callable[
    [ClientCommands], Callable[[Ref, str, str | None], Awaitable[CommandResult]]
]
"""Returns the method that carries out a command."""


def pause(
    context: typer.Context,
    refs: RefsArgument,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="WHEN",
            help=f"Resume by itself then: {FORMS}. Clock time is that of the schedule's zone.",
        ),
    ] = None,
    note: NoteOption = None,
) -> int:
    """Pause campaigns, so that they start no new run.

    Attempts in flight end by themselves. `campaignd start` resumes a campaign. Pausing a paused
    campaign changes the end of its pause.
    """
    end = None if until is None else _end_of_pause(until)
    given = checked_note(note)

    def pause_one(service: ClientCommands, ref: Ref, actor: str) -> Awaitable[CommandResult]:
        return service.pause(ref, actor, given, end)

    return run_for_each(context, refs, pause_one)


def start(context: typer.Context, refs: RefsArgument, note: NoteOption = None) -> int:
    """Start draft campaigns, or resume paused ones.

    The line names the instant of the next run.
    """
    return run_for_each(
        context, refs, with_note(lambda commands: commands.start, note), with_next_run=True
    )


def stop(
    context: typer.Context, refs: RefsArgument, note: NoteOption = None, yes: YesOption = False
) -> int:
    """Cancel campaigns and their open runs.

    A terminal is asked first.
    """
    confirm(f"Cancel {count_text(refs)}, and their open runs?", yes=yes)
    return run_for_each(context, refs, with_note(lambda commands: commands.stop, note))


def rerun(context: typer.Context, refs: RefsArgument, note: NoteOption = None) -> int:
    """Run ended campaigns again, now."""
    return run_for_each(
        context, refs, with_note(lambda commands: commands.rerun, note), with_next_run=True
    )


def archive(context: typer.Context, refs: RefsArgument, note: NoteOption = None) -> int:
    """Archive campaigns."""
    return run_for_each(context, refs, with_note(lambda commands: commands.archive, note))


def unarchive(context: typer.Context, refs: RefsArgument, note: NoteOption = None) -> int:
    """Restore archived campaigns."""
    return run_for_each(context, refs, with_note(lambda commands: commands.unarchive, note))


def with_note(command: NotedCommand, note: str | None) -> Command:
    """Return a command with its note. Raises typer.BadParameter."""
    given = checked_note(note)
    return lambda service, ref, actor: command(service)(ref, actor, given)


def _end_of_pause(text: str) -> datetime:
    """Return the end as written, or the naive clock time that a text such as `monday` means."""
    when = parse_when(text, "--until")
    if when.written is not None:
        return when.written
    here = screen()
    at = resolve_when(when, here.now, here.zone, past=False, hint="--until")
    return wall_clock(at, here.zone)


def run_for_each(
    context: typer.Context,
    refs: Sequence[str],
    command: Command,
    *,
    with_next_run: bool = False,
    result_line: Callable[[CommandResult], str] | None = None,
) -> int:
    """Run a command on each campaign, and print a line for each.

    With several campaigns, one that refuses does not keep the others from it: its error is a line
    on standard error, and the exit code is 1.
    """

    def default_line(result: CommandResult) -> str:
        return command_result_line(result, with_next_run=with_next_run)

    line = result_line or default_line

    async def run_and_print(client: Client) -> int:
        code = 0
        for ref in refs:
            try:
                wanted = await client.campaign_ref(ref)
                print(line(await command(client.service, wanted, command_line_actor())))
            except (CampaigndError, typer.BadParameter) as error:
                if len(refs) == 1 or getattr(error, "retryable", False):
                    raise
                print(f"campaignd: error: {ref}: {error}", file=sys.stderr)
                code = 1
        return code

    return with_client(context, run_and_print)


def command_result_line(result: CommandResult, *, with_next_run: bool) -> str:
    """Return the result of a command as one line."""
    already = "" if result.changed else " already"
    line = f"campaign {result.campaign_id} {result.to_status}{already}"
    if not with_next_run:
        return line
    if result.next_run_at is None:
        return f"{line}, no run is due by itself"
    if result.due_at is not None:
        scheduled = shown_instant(result.next_run_at)
        return f"{line}, next run at {shown_instant(result.due_at)}, scheduled for {scheduled}"
    if result.next_run_at <= result.now:
        return f"{line}, runs now"
    return f"{line}, next run at {shown_instant(result.next_run_at)}"


def count_text(refs: Sequence[str]) -> str:
    """Return the campaigns of a question."""
    return f"campaign {refs[0]}" if len(refs) == 1 else f"{len(refs)} campaigns"
