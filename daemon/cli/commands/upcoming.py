"""`campaignd upcoming [REF]`: what is armed, soonest first; of one campaign as far as wanted."""

from __future__ import annotations

from typing import Any

import typer

from daemon.cli.opening import Store, with_store
from daemon.cli.output import (
    JsonOption,
    LimitOption,
    OptionalRef,
    parse_ref,
    print_pages,
)
from storage.campaign_reads import Upcoming, UpcomingKey


def upcoming(
    context: typer.Context,
    ref: OptionalRef = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
) -> int:
    """List what comes next: runs, and windows that open or close."""
    wanted = None if ref is None else parse_ref(ref)

    async def work(store: Store) -> None:
        async def fetch(count: int, after: UpcomingKey | None) -> list[Upcoming]:
            if wanted is None:
                return await store.history.upcoming(limit=count, after=after)
            # One campaign's are computed, all of them at once.
            return [] if after is not None else await store.history.upcoming_of(wanted, limit)

        await print_pages(
            fetch,
            lambda each: each.key,
            limit=limit,
            as_json=as_json if json else None,
            columns=("UTC", "local", "time zone", "event", "campaign", "name", "status"),
            row=lambda e: (
                e.at,
                e.local,
                e.timezone,
                e.kind,
                e.campaign_id,
                e.campaign_name,
                e.status,
            ),
            empty="nothing is to come",
        )

    return with_store(context, work)


def as_json(event: Upcoming) -> dict[str, Any]:
    """An armed event, for programs."""
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
    }
