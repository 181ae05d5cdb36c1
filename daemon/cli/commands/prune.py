"""`campaignd prune`: delete history that is older than it has to be kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from daemon.cli.opening import Store, with_store
from storage.prune import Prune


def prune(
    context: typer.Context,
    keep_days: Annotated[
        int | None,
        typer.Option(
            min=1, max=36_500, metavar="N", help="Days to keep; default: the setting history."
        ),
    ] = None,
) -> int:
    """Delete ended runs and events older than N days; each campaign's newest stays."""

    async def work(store: Store) -> None:
        days = keep_days or store.settings.history.keep_days
        if not days:
            raise typer.BadParameter(
                "history.keep_days is 0, for ever: say how many days", param_hint="--keep-days"
            )
        runs = events = 0
        async for done in Prune(store.database).steps(timedelta(days=days)):
            runs, events = runs + done.runs, events + done.events
            await asyncio.sleep(0)
        print(f"{runs} runs and {events} events deleted, older than {days} days")

    return with_store(context, work)
