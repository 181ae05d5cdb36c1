"""`campaignd upcoming [REF]`: upcoming events of all campaigns, or of one."""

from __future__ import annotations

from typing import Any

import typer

from daemon.cli.client import Client
from daemon.cli.commands.show import event_word
from daemon.cli.options import displays
from daemon.cli.output import LimitOption, Listing, print_pages, print_zone
from daemon.cli.refs import OptionalRef
from daemon.cli.store import with_client
from daemon.cli.table import Column
from daemon.domain.read_models import UpcomingEvent, UpcomingKey


@displays
def upcoming(
    context: typer.Context,
    ref: OptionalRef = None,
    limit: LimitOption = 20,
) -> int:
    """List upcoming events, soonest first.

    An event is a run, or the opening or closing of a window. Without REF the list has the next
    event of each started campaign; with REF it has the next events of that campaign.
    """

    async def list_events(client: Client) -> None:
        wanted = None if ref is None else await client.campaign_ref(ref)

        async def fetch_page(count: int, after: UpcomingKey | None) -> list[UpcomingEvent]:
            if wanted is None:
                return await client.reads.upcoming(limit=count, after=after)
            # The events of one campaign are computed, all of them on one page.
            return [] if after is not None else await client.reads.upcoming_of(wanted, limit)

        await print_pages(_LISTING, fetch_page, limit=limit)
        print_zone()

    return with_client(context, list_events)


def event_json(event: UpcomingEvent) -> dict[str, Any]:
    """Return an upcoming event as a JSON object."""
    return {
        "campaign_id": event.campaign_id,
        "campaign_uuid": event.campaign_uuid,
        "campaign_name": event.campaign_name,
        "type": event.type,
        "status": event.status,
        "event": event.kind,
        "at": event.at,
        "local": event.local,
        "timezone": event.timezone,
        "frozen": event.frozen,
    }


def _event_row(event: UpcomingEvent) -> tuple[object, ...]:
    return (
        event.at,
        event.campaign_id,
        event.campaign_name,
        event_word(event.kind),
        event.status,
        f"{event.local:%Y-%m-%d %H:%M} {event.timezone}",
    )


_LISTING = Listing(
    columns=(
        *(Column("at"), Column("campaign"), Column("name", can_shrink=True), Column("event")),
        *(Column("status", is_outcome=True), Column("clock there", is_second=True)),
    ),
    row=_event_row,
    as_json=event_json,
    key=lambda event: event.key,
    empty="no upcoming events",
)
