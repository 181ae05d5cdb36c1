"""`campaignd campaigns`: all campaigns, newest first."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from daemon.cli.client import Client
from daemon.cli.options import displays
from daemon.cli.output import LimitOption, Listing, print_pages, print_zone
from daemon.cli.store import with_client
from daemon.cli.table import Column
from daemon.domain.campaign.state_machine import Status
from daemon.domain.read_models import CampaignSummary
from daemon.domain.schedule.schedule import CampaignType


@displays
def campaigns(
    context: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Only campaigns in this status.")] = None,
    type: Annotated[CampaignType | None, typer.Option(help="Only campaigns of this type.")] = None,
    limit: LimitOption = 50,
) -> int:
    """List campaigns, newest first."""

    async def list_campaigns(client: Client) -> None:
        await print_pages(
            _LISTING,
            lambda count, before: client.reads.campaigns(
                limit=count, before=before, status=status, type=type
            ),
            limit=limit,
        )
        print_zone()

    return with_client(context, list_campaigns)


def next_run_of(listed: CampaignSummary) -> datetime | None:
    """Return the instant of a campaign's next run; a paused campaign starts none."""
    return None if listed.campaign.status is Status.PAUSED else listed.next_run_at


def campaign_json(listed: CampaignSummary) -> dict[str, Any]:
    """Return a listed campaign as a JSON object."""
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
        "next_run_at": next_run_of(listed),
        "ends_at": listed.ends_at,
        "rrule": listed.rrule,
        "created_at": campaign.created_at,
        "updated_at": campaign.updated_at,
    }


def _campaign_row(listed: CampaignSummary) -> tuple[object, ...]:
    campaign = listed.campaign
    return (
        campaign.id,
        campaign.name,
        campaign.status,
        next_run_of(listed),
        campaign.type,
        campaign.target,
        listed.ends_at,
    )


_LISTING = Listing(
    columns=(
        *(Column("id"), Column("name", can_shrink=True), Column("status", is_outcome=True)),
        *(Column("next run"), Column("type", is_second=True), Column("target", is_second=True)),
        Column("ends", is_second=True),
    ),
    row=_campaign_row,
    as_json=campaign_json,
    key=lambda listed: listed.campaign.id,
    empty="no campaigns",
)
