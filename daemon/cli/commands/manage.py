"""`campaignd delete`, `copy`, `rename` and `run-now`."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.campaign_service import CommandResult
from daemon.cli.client import Client
from daemon.cli.commands.lifecycle import count_text, run_for_each, with_note
from daemon.cli.commands.schedule import print_notes
from daemon.cli.confirm import confirm
from daemon.cli.context import command_line_actor
from daemon.cli.notes import NoteOption
from daemon.cli.options import YesOption
from daemon.cli.refs import RefArgument, RefsArgument
from daemon.cli.store import with_client


def delete(context: typer.Context, refs: RefsArgument, yes: YesOption = False) -> int:
    """Delete campaigns and their history.

    A terminal is asked first; a script gives --yes. `campaignd archive` keeps the history.
    """
    confirm(f"Delete {count_text(refs)} and all history?", yes=yes, required=True)

    def deleted(result: CommandResult) -> str:
        return f"campaign {result.campaign_id} deleted"

    return run_for_each(
        context,
        refs,
        lambda commands, ref, actor: commands.delete_campaign(ref, actor),
        result_line=deleted,
    )


def run_now(context: typer.Context, refs: RefsArgument, note: NoteOption = None) -> int:
    """Run live campaigns once, now, beside their schedules."""
    command = with_note(lambda commands: commands.run_now, note)
    return run_for_each(context, refs, command, with_next_run=True)


def copy(
    context: typer.Context,
    ref: RefArgument,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The name; default: `Copy of` and the name."),
    ] = None,
) -> int:
    """Copy a campaign with its schedule, as a draft."""

    async def copy_campaign(client: Client) -> None:
        wanted = await client.campaign_ref(ref)
        copied = await client.service.copy_campaign(wanted, command_line_actor(), name)
        print(f"campaign {copied.campaign.id} draft, {copied.campaign.name!r}")
        print_notes(copied.notes)
        print(f"next: campaignd start {copied.campaign.id}")

    return with_client(context, copy_campaign)


def rename(
    context: typer.Context,
    ref: RefArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
) -> int:
    """Rename a campaign."""

    async def rename_campaign(client: Client) -> None:
        edited = await client.service.edit_campaign(
            await client.campaign_ref(ref),
            {"name": name},
            command_line_actor(),
            targets=client.targets_with(None),
        )
        already = "" if edited.changed else " already"
        print(f"campaign {edited.campaign.id} is called {edited.campaign.name!r}{already}")

    return with_client(context, rename_campaign)
