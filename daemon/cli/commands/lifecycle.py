"""`campaignd pause REF` and the other lifecycle commands; one line reports the new status."""

from __future__ import annotations

import typer

from daemon.campaign_service import CommandResult
from daemon.cli.context import command_line_actor
from daemon.cli.output import RefArgument, instant_text, parse_ref
from daemon.cli.store import Store, with_store
from daemon.domain.campaign.state_machine import Event


def pause(context: typer.Context, ref: RefArgument) -> int:
    """Pause a campaign, so that it starts no new run.

    Attempts in flight end by themselves. `campaignd start` resumes the campaign.
    """
    return _run_lifecycle_command(context, ref, Event.PAUSE)


def start(context: typer.Context, ref: RefArgument) -> int:
    """Start a draft campaign, or resume a paused one.

    The line names the instant of the next run.
    """
    return _run_lifecycle_command(context, ref, Event.START)


def stop(context: typer.Context, ref: RefArgument) -> int:
    """Cancel a campaign and its open runs."""
    return _run_lifecycle_command(context, ref, Event.STOP)


def rerun(context: typer.Context, ref: RefArgument) -> int:
    """Run an ended campaign again, now."""
    return _run_lifecycle_command(context, ref, Event.RERUN)


def archive(context: typer.Context, ref: RefArgument) -> int:
    """Archive a campaign."""
    return _run_lifecycle_command(context, ref, Event.ARCHIVE)


def unarchive(context: typer.Context, ref: RefArgument) -> int:
    """Restore an archived campaign."""
    return _run_lifecycle_command(context, ref, Event.UNARCHIVE)


def _run_lifecycle_command(context: typer.Context, ref: str, event: Event) -> int:
    wanted = parse_ref(ref)

    async def run_and_print(store: Store) -> None:
        campaigns = store.service
        commands = {
            Event.PAUSE: campaigns.pause,
            Event.START: campaigns.start,
            Event.STOP: campaigns.stop,
            Event.RERUN: campaigns.rerun,
            Event.ARCHIVE: campaigns.archive,
            Event.UNARCHIVE: campaigns.unarchive,
        }
        result = await commands[event](wanted, command_line_actor())
        print(command_result_line(result, with_next_run=event in (Event.START, Event.RERUN)))

    return with_store(context, run_and_print)


def command_result_line(result: CommandResult, *, with_next_run: bool) -> str:
    """Return the result of a command as one line."""
    already = "" if result.changed else " already"
    line = f"campaign {result.campaign_id} {result.to_status}{already}"
    if not with_next_run:
        return line
    if result.next_run_at is None:
        return f"{line}, no run is due by itself"
    if result.next_run_at <= result.now:
        return f"{line}, runs now"
    return f"{line}, next run at {instant_text(result.next_run_at)}"
