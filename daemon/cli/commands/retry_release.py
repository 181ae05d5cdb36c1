"""`campaignd retry RUN` and `campaignd release RUN`: an operator's decisions about one run."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.cli.context import command_line_actor
from daemon.cli.refs import RunArgument
from daemon.cli.store import Store, with_store


def retry(context: typer.Context, run: RunArgument) -> int:
    """Retry a failed run now."""

    async def retry_run(store: Store) -> None:
        run_id = await store.run_id(run)
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

    async def release_run(store: Store) -> None:
        run_id = await store.run_id(run)
        decide = store.service.fail_held if fail else store.service.release
        update = await decide(run_id, command_line_actor())
        print(f"run {run_id} {update.status}, campaign {update.campaign_id}")

    return with_store(context, release_run)
