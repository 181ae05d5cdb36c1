"""`campaignd campaigns`: all campaigns, newest first."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from daemon.cli.output import JsonOption, LimitOption, Listing, print_pages
from daemon.cli.store import Store, with_store
from daemon.domain.campaign.state_machine import Status
from daemon.domain.read_models import CampaignSummary
from daemon.domain.schedule.schedule import CampaignType


def campaigns(
    context: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Only campaigns in this status.")] = None,
    type: Annotated[CampaignType | None, typer.Option(help="Only campaigns of this type.")] = None,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> int:
    """List campaigns, newest first."""

    async def list_campaigns(store: Store) -> None:
        await print_pages(
            _LISTING,
            lambda count, before: store.reads.campaigns(
                limit=count, before=before, status=status, type=type
            ),
            limit=limit,
            json=json,
        )

    return with_store(context, list_campaigns)


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
        "next_run_at": listed.next_run_at,
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
        campaign.type,
        campaign.status,
        listed.next_run_at,
        listed.ends_at,
    )


_LISTING = Listing(
    columns=("id", "name", "type", "status", "next run", "ends"),
    row=_campaign_row,
    as_json=campaign_json,
    key=lambda listed: listed.campaign.id,
    empty="no campaigns",
)
