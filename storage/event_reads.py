"""Reads the events of all campaigns, newest first, without the ordinary start and end of a run.

Those are by far the most, and the list of runs has them. A partial index holds the others.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from daemon.domain.campaign.model import LoggedEvent
from daemon.domain.listing import Counted, EventFilter
from storage.campaign_reads import count_rows, event_from
from storage.engine import Database
from storage.tables import NOTABLE_EVENT, campaign_events

_notable = sa.text(f"({NOTABLE_EVENT})")


class EventReads:
    """Reads of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(
        self, wanted: EventFilter, *, limit: int, before: int | None = None
    ) -> list[LoggedEvent]:
        """Return events with an id below ``before``, newest first."""
        statement = _select(wanted, campaign_events).order_by(campaign_events.c.id.desc())
        if before is not None:
            statement = statement.where(campaign_events.c.id < before)
        return [event_from(row) for row in await self._database.rows(statement.limit(limit))]

    async def count_events(self, wanted: EventFilter) -> Counted:
        """Count the events of a list."""
        return await count_rows(self._database, _select(wanted, sa.literal(1)))


def _select(wanted: EventFilter, *columns: Any) -> sa.Select[Any]:
    statement = sa.select(*columns).select_from(campaign_events).where(_notable)
    if wanted.event is not None:
        statement = statement.where(campaign_events.c.event == wanted.event)
    if wanted.actor is not None:
        statement = statement.where(campaign_events.c.actor == wanted.actor)
    if wanted.since is not None:
        statement = statement.where(campaign_events.c.at >= wanted.since)
    if wanted.before is not None:
        statement = statement.where(campaign_events.c.at < wanted.before)
    return statement
