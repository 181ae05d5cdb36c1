"""`campaignd pause REF` and the rest of the lifecycle: one line says what came of it."""

from __future__ import annotations

import typer

from daemon.campaign_service import CommandResult
from daemon.cli.opening import Store, actor, with_store
from daemon.cli.output import RefArgument, instant, parse_ref
from daemon.domain.campaign.state_machine import Event


def pause(context: typer.Context, ref: RefArgument) -> int:
    """Start nothing new until it is started again; open attempts end by themselves."""
    return _ask(context, ref, Event.PAUSE)


def start(context: typer.Context, ref: RefArgument) -> int:
    """Arm a draft, or resume what is paused; says when it will run."""
    return _ask(context, ref, Event.START)


def stop(context: typer.Context, ref: RefArgument) -> int:
    """Cancel it, with every open run."""
    return _ask(context, ref, Event.STOP)


def rerun(context: typer.Context, ref: RefArgument) -> int:
    """Run it once more now, although it has ended."""
    return _ask(context, ref, Event.RERUN)


def archive(context: typer.Context, ref: RefArgument) -> int:
    """Put it away."""
    return _ask(context, ref, Event.ARCHIVE)


def unarchive(context: typer.Context, ref: RefArgument) -> int:
    """Bring back what was put away."""
    return _ask(context, ref, Event.UNARCHIVE)


def _ask(context: typer.Context, ref: str, event: Event) -> int:
    wanted = parse_ref(ref)

    async def work(store: Store) -> None:
        control = store.control
        commands = {
            Event.PAUSE: control.pause,
            Event.START: control.start,
            Event.STOP: control.stop,
            Event.RERUN: control.rerun,
            Event.ARCHIVE: control.archive,
            Event.UNARCHIVE: control.unarchive,
        }
        done = await commands[event](wanted, actor())
        print(told(done, says_when=event in (Event.START, Event.RERUN)))

    return with_store(context, work)


def told(done: CommandResult, *, says_when: bool) -> str:
    """What a command came to, as one line."""
    already = "" if done.changed else " already"
    line = f"campaign {done.campaign_id} {done.to_status}{already}"
    if not says_when:
        return line
    if done.next_run_at is None:
        return f"{line}, no run is due by itself"
    if done.next_run_at <= done.now:
        return f"{line}, runs now"
    return f"{line}, next run at {instant(done.next_run_at)}"
