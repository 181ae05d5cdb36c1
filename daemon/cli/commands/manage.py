"""`campaignd delete`, `copy`, `rename` and `run-now`."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.campaign_service import CampaignService, CommandResult
from daemon.cli.commands.lifecycle import count_text, run_for_each
from daemon.cli.commands.schedule import print_notes
from daemon.cli.confirm import confirm
from daemon.cli.context import command_line_actor
from daemon.cli.options import YesOption
from daemon.cli.refs import RefArgument, RefsArgument
from daemon.cli.store import Store, with_store


def delete(context: typer.Context, refs: RefsArgument, yes: YesOption = False) -> int:
    """Delete campaigns and their history.

    A terminal is asked first; a script gives --yes. `campaignd archive` keeps the history.
    """
    confirm(f"Delete {count_text(refs)} and all history?", yes=yes, required=True)

    def deleted(result: CommandResult) -> str:
        return f"campaign {result.campaign_id} deleted"

    return run_for_each(context, refs, CampaignService.delete_campaign, result_line=deleted)


def run_now(context: typer.Context, refs: RefsArgument) -> int:
    """Run live campaigns once, now, beside their schedules."""
    return run_for_each(context, refs, CampaignService.run_now, with_next_run=True)


def copy(
    context: typer.Context,
    ref: RefArgument,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The name; default: `Copy of` and the name."),
    ] = None,
) -> int:
    """Copy a campaign with its schedule, as a draft."""

    async def copy_campaign(store: Store) -> None:
        wanted = await store.campaign_ref(ref)
        copied = await store.service.copy_campaign(wanted, command_line_actor(), name)
        print(f"campaign {copied.campaign.id} draft, {copied.campaign.name!r}")
        print_notes(copied.notes)
        print(f"next: campaignd start {copied.campaign.id}")

    return with_store(context, copy_campaign)


def rename(
    context: typer.Context,
    ref: RefArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
) -> int:
    """Rename a campaign."""

    async def rename_campaign(store: Store) -> None:
        edited = await store.service.edit_campaign(
            await store.campaign_ref(ref),
            {"name": name},
            command_line_actor(),
            targets=store.settings.targets,
        )
        already = "" if edited.changed else " already"
        print(f"campaign {edited.campaign.id} is called {edited.campaign.name!r}{already}")

    return with_store(context, rename_campaign)
