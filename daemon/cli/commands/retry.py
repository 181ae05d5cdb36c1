"""`campaignd retry RUN`: another attempt of a failed run."""

from __future__ import annotations

import typer

from daemon.cli.client import Client
from daemon.cli.context import command_line_actor
from daemon.cli.notes import NoteOption, checked_note
from daemon.cli.refs import RunArgument
from daemon.cli.store import with_client


def retry(context: typer.Context, run: RunArgument, note: NoteOption = None) -> int:
    """Retry a failed run now."""
    given = checked_note(note)

    async def retry_run(client: Client) -> None:
        run_id = await client.run_id(run)
        result = await client.service.retry(run_id, command_line_actor(), given)
        print(f"run {run_id} retrying, campaign {result.campaign_id} {result.to_status}")

    return with_client(context, retry_run)
