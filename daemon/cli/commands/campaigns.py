"""`campaignd campaigns`: all of them, newest first."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from daemon.cli.opening import Store, with_store
from daemon.cli.output import JsonOption, LimitOption, print_pages
from daemon.domain.campaign.state_machine import Status
from daemon.domain.schedule.schedule import CampaignType
from storage.campaign_reads import Listed


def campaigns(
    context: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Only those in this status.")] = None,
    type: Annotated[CampaignType | None, typer.Option(help="Only those of this type.")] = None,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> int:
    """List campaigns, newest first."""

    async def work(store: Store) -> None:
        await print_pages(
            lambda count, before: store.history.campaigns(
                limit=count, before=before, status=status, type=type
            ),
            lambda each: each.campaign.id,
            limit=limit,
            as_json=as_json if json else None,
            columns=("id", "name", "type", "status", "next run", "ends"),
            row=_row,
            empty="no campaigns",
        )

    return with_store(context, work)


def as_json(listed: Listed) -> dict[str, Any]:
    """A campaign in a list, for programs."""
    campaign = listed.campaign
    return {
        "id": campaign.id,
        "uuid": campaign.uuid,
        "name": campaign.name,
        "type": campaign.type,
        "status": campaign.status,
        "timezone": campaign.timezone,
        "target": campaign.target,
        "open_runs": campaign.open_runs,
        "next_run_at": listed.next_run_at,
        "ends_at": listed.ends_at,
        "rrule": listed.rrule,
        "created_at": campaign.created_at,
        "updated_at": campaign.updated_at,
    }


def _row(listed: Listed) -> tuple[object, ...]:
    campaign = listed.campaign
    return (
        campaign.id,
        campaign.name,
        campaign.type,
        campaign.status,
        listed.next_run_at,
        listed.ends_at,
    )
