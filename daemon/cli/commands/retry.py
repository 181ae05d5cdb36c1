"""`campaignd retry RUN`: another attempt of a failed run."""

from __future__ import annotations

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
