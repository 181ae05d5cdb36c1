"""`campaignd prune`: delete history that is older than the retention period."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from daemon.cli.store import Store, with_store
from daemon.domain.read_models import PruneStats
from storage.prune import Prune


def prune(
    context: typer.Context,
    keep_days: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=36_500,
            metavar="N",
            help="Days of history to keep; default: the setting history.keep_days.",
        ),
    ] = None,
) -> int:
    """Delete ended runs and events that are old enough.

    The newest of each campaign are kept, whatever their age.
    """

    async def delete_history(store: Store) -> None:
        days = keep_days or store.settings.history.keep_days
        if not days:
            raise typer.BadParameter(
                "history.keep_days is 0, which keeps everything: give a number of days",
                param_hint="--keep-days",
            )
        runs = events = 0
        stored, keep = Prune(store.database), timedelta(days=days)
        async for done in stored.prune_history(keep):
            runs, events = runs + done.runs, events + done.events
            await asyncio.sleep(0)
        if runs or events:
            await stored.record_in_audit_log(PruneStats(runs, events), keep)
        print(f"{runs} runs and {events} events deleted, older than {days} days")

    return with_store(context, delete_history)
