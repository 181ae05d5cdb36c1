"""`campaignd freeze` and `campaignd thaw`: the brake on everything that would be sent."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from daemon.cli.confirm import confirm
from daemon.cli.context import command_line_actor
from daemon.cli.options import YesOption
from daemon.cli.screen import screen
from daemon.cli.store import Store, with_store
from daemon.cli.when import parse_length, parse_when, resolve_when
from daemon.domain.brakes import FreezeRequest, Overdue, check_freeze
from daemon.domain.formatting import instant_text
from daemon.domain.run.held import ConfirmationRequired

WAIT_S = 5.0
"""Seconds in which every live node is expected to obey."""

TargetOption = Annotated[
    str | None, typer.Option("--target", help="Only runs for this target; default: all.")
]


def freeze(
    context: typer.Context,
    target: TargetOption = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="TIME",
            help="When it ends by itself: a length of time such as 2h, a time or an instant.",
        ),
    ] = None,
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="Why, for those who see it.")
    ] = None,
) -> int:
    """Let nothing begin any more, on any node.

    Attempts under way go on. One line for each live node says that it obeys; the exit code is 1
    if one does not within 5 seconds.
    """

    async def freeze_scope(store: Store) -> int:
        now = screen().now
        ends_at = None
        if until is not None:
            length = parse_length(until)
            when = None if length is not None else parse_when(until, "--until")
            ends_at = (
                now + length
                if length is not None
                else resolve_when(when, now, screen().zone, past=False, hint="--until")
                if when is not None
                else None
            )
        check_freeze(FreezeRequest(target, ends_at, note), sorted(store.settings.targets), now)
        done = await store.brakes.freeze(target, command_line_actor(), until=ends_at, note=note)
        print(done.brake.describe())
        receipt = await store.brakes.wait_until_obeyed(done, WAIT_S)
        for node in receipt.nodes:
            if node.applied:
                print(f"{node.node} obeys ({node.seconds or 0:.2f} s)")
            else:
                beat = instant_text(node.heartbeat_at)
                print(f"{node.node} does not obey yet, its last heartbeat was at {beat}")
        if not receipt.nodes:
            print("no node is at work")
        return 0 if receipt.is_complete else 1

    return with_store(context, freeze_scope)


def thaw(
    context: typer.Context,
    target: TargetOption = None,
    overdue: Annotated[
        Overdue, typer.Option(help="What becomes of the occurrences that came due meanwhile.")
    ] = Overdue.HOLD,
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="Kept in the audit log.")
    ] = None,
    yes: YesOption = False,
) -> int:
    """End a freeze.

    What came due meanwhile is held for a person, or missed with --overdue skip. With --overdue
    policy each goes by the grace of its schedule, and may begin at once.
    """

    async def thaw_scope(store: Store) -> None:
        actor = command_line_actor()
        try:
            done = await store.brakes.thaw(target, actor, overdue=overdue, note=note)
        except ConfirmationRequired as required:
            if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise ConfirmationRequired(
                    required.count, "starts", hint="or give --yes"
                ) from required
            confirm(f"start {required.count} runs?", yes=yes)
            count = required.count
            done = await store.brakes.thaw(target, actor, overdue=overdue, note=note, confirm=count)
        became = {Overdue.HOLD: "held", Overdue.SKIP: "missed", Overdue.POLICY: "left to policy"}
        print(f"{done.scope} thawed, {done.waiting} occurrences {became[done.overdue]}")

    return with_store(context, thaw_scope)
