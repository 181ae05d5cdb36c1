"""Retention: what ended long ago is deleted, in small transactions, by one process at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from storage.engine import Database
from storage.queries import query
from storage.tables import campaigns

CAMPAIGNS_AT_ONCE = 1000
ROWS_AT_ONCE = 5000
_LOCK = 0x7072756E
"""Advisory lock: whoever holds it prunes; others have nothing to do."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a step deleted."""

    runs: int
    events: int


class Prune:
    """Deletes history of one database."""

    def __init__(self, database: Database, now: datetime | None = None) -> None:
        self._database = database
        self.now = now

    async def steps(self, keep: timedelta) -> AsyncIterator[Pruned]:
        """Delete what ended longer ago than ``keep``; one item for each transaction.

        Open runs are never touched, nor each campaign's newest run and event. Ends at once when
        another process is at it.
        """
        # The lock lives as long as its connection, which nothing else uses.
        async with self._database.statement() as holder:
            if not await holder.scalar(sa.select(sa.func.pg_try_advisory_lock(_LOCK))):
                return
            try:
                heard: datetime = (await holder.execute(sa.select(sa.func.now()))).scalar_one()
                before = (self.now or heard) - keep
                async for ids in self._campaigns():
                    while True:
                        done = Pruned(
                            await self._delete("prune_runs", ids, before),
                            await self._delete("prune_events", ids, before),
                        )
                        yield done
                        if max(done.runs, done.events) < ROWS_AT_ONCE:
                            break
            finally:
                await holder.scalar(sa.select(sa.func.pg_advisory_unlock(_LOCK)))

    async def _campaigns(self) -> AsyncIterator[list[int]]:
        last = 0
        while True:
            statement = (
                sa.select(campaigns.c.id)
                .where(campaigns.c.id > last)
                .order_by(campaigns.c.id)
                .limit(CAMPAIGNS_AT_ONCE)
            )
            async with self._database.statement() as connection:
                ids = list((await connection.execute(statement)).scalars())
            if not ids:
                return
            yield ids
            last = ids[-1]

    async def _delete(self, name: str, ids: list[int], before: datetime) -> int:
        binds = {"campaign_ids": ids, "before": before, "max_rows": ROWS_AT_ONCE}
        async with self._database.statement() as connection:
            return len((await connection.execute(query(name), binds)).all())
