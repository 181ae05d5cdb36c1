"""`campaignd retry RUN` and `release RUN`: what a person decides about one run."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from daemon.cli.opening import Store, actor, with_store

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id, as `runs` shows it.", show_default=False)
]


def retry(context: typer.Context, run: RunArgument) -> int:
    """Try a failed run again; its next attempt is due now."""
    wanted = parse_run(run)

    async def work(store: Store) -> None:
        done = await store.control.retry(wanted, actor())
        print(f"run {wanted} retrying, campaign {done.campaign_id} {done.to_status}")

    return with_store(context, work)


def release(
    context: typer.Context,
    run: RunArgument,
    fail: Annotated[
        bool, typer.Option("--fail", help="Let it count as failed instead of delivering it.")
    ] = False,
) -> int:
    """Let a held run go on its way: it is delivered once more, with the same id."""
    wanted = parse_run(run)

    async def work(store: Store) -> None:
        control = store.control
        decide = control.fail_held if fail else control.release
        answered = await decide(wanted, actor())
        print(f"run {wanted} {answered.status}, campaign {answered.campaign_id}")

    return with_store(context, work)


def parse_run(text: str) -> UUID:
    """A run's id; a usage error if it is none."""
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a run's id") from None
