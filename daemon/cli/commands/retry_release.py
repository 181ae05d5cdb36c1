"""`campaignd retry RUN` and `campaignd release RUN`: an operator's decisions about one run."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from daemon.cli.context import command_line_actor
from daemon.cli.store import Store, with_store

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="The run's id, as `campaignd runs` shows it.", show_default=False
    ),
]


def retry(context: typer.Context, run: RunArgument) -> int:
    """Retry a failed run now."""
    run_id = parse_run_id(run)

    async def retry_run(store: Store) -> None:
        result = await store.service.retry(run_id, command_line_actor())
        print(f"run {run_id} retrying, campaign {result.campaign_id} {result.to_status}")

    return with_store(context, retry_run)


def release(
    context: typer.Context,
    run: RunArgument,
    fail: Annotated[
        bool, typer.Option("--fail", help="Fail the run instead of delivering it again.")
    ] = False,
) -> int:
    """Deliver a held run again, or fail it.

    The repeated delivery has the same run id.
    """
    run_id = parse_run_id(run)

    async def release_run(store: Store) -> None:
        decide = store.service.fail_held if fail else store.service.release
        update = await decide(run_id, command_line_actor())
        print(f"run {run_id} {update.status}, campaign {update.campaign_id}")

    return with_store(context, release_run)


def parse_run_id(text: str) -> UUID:
    """Return the run id that a text is; raise a usage error if it is none."""
    try:
        return UUID(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a run's id") from None
