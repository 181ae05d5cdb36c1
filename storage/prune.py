"""Retention: what ended long ago is deleted, in small transactions, by one process at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from daemon.domain.read_models import PruneStats
from storage.engine import Database
from storage.queries import query
from storage.tables import campaigns

CAMPAIGNS_AT_ONCE = 1000
ROWS_AT_ONCE = 5000
LOCK = 0x7072756E
"""Advisory lock: whoever holds it prunes; others have nothing to do."""
_TURN = sa.select(sa.func.pg_try_advisory_xact_lock(LOCK), sa.func.now())


class Prune:
    """Deletes history of one database."""

    def __init__(self, database: Database, now: datetime | None = None) -> None:
        self._database = database
        self.now = now

    async def steps(self, keep: timedelta) -> AsyncIterator[PruneStats]:
        """Delete what ended longer ago than ``keep``; one item for each transaction.

        Open runs are never touched, nor each campaign's newest run and event. Ends when another
        process is at it, which does the rest.
        """
        async for ids in self._campaigns():
            while True:
                done = await self._step(ids, keep)
                if done is None:
                    return
                yield done
                if max(done.runs, done.events) < ROWS_AT_ONCE:
                    break

    async def _step(self, ids: list[int], keep: timedelta) -> PruneStats | None:
        """One transaction; None if another process is at it just then."""
        # The lock goes with the transaction. A session's would outlive a killed process behind a
        # pooler, which keeps the connection and gives it to somebody else.
        async with self._database.transaction() as connection:
            is_ours, heard = (await connection.execute(_TURN)).one()
            if not is_ours:
                return None
            before = (self.now or heard) - keep
            binds = {"campaign_ids": ids, "before": before, "max_rows": ROWS_AT_ONCE}
            runs, events = [
                len((await connection.execute(query(name), binds)).all())
                for name in ("prune_runs", "prune_events")
            ]
            return PruneStats(runs, events)

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
