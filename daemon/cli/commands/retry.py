"""`campaignd retry RUN`: another attempt of a failed run."""

from __future__ import annotations

import typer

from daemon.cli.context import command_line_actor
from daemon.cli.notes import NoteOption, checked_note
from daemon.cli.refs import RunArgument
from daemon.cli.store import Store, with_store


def retry(context: typer.Context, run: RunArgument, note: NoteOption = None) -> int:
    """Retry a failed run now."""
    given = checked_note(note)

    async def retry_run(store: Store) -> None:
        run_id = await store.run_id(run)
        result = await store.service.retry(run_id, command_line_actor(), given)
        print(f"run {run_id} retrying, campaign {result.campaign_id} {result.to_status}")

    return with_store(context, retry_run)
