"""Retention: deletes old history in small transactions, in one process at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from daemon.domain.audit import Action, AuditEntry
from daemon.domain.read_models import PruneStats
from storage.audit_log import AuditLog
from storage.engine import Database
from storage.queries import query
from storage.tables import audit_findings, audit_log, campaigns

CAMPAIGN_BATCH = 1000
ROW_BATCH = 5000
LOCK = 0x7072756E
"""Advisory lock of the process that prunes; other processes skip their turn."""
_TURN = sa.select(sa.func.pg_try_advisory_xact_lock(LOCK), sa.func.now())


class Prune:
    """Deletes history of one database."""

    def __init__(self, database: Database, now: datetime | None = None) -> None:
        self._database = database
        self._audit_log = AuditLog(database)
        self.now = now

    async def prune_history(self, keep: timedelta) -> AsyncIterator[PruneStats]:
        """Delete history that ended longer ago than ``keep``; yield after each transaction.

        Open runs stay, and so do each campaign's newest run and event. The iteration ends early
        when another process prunes.
        """
        async for ids in self._campaign_id_batches():
            while True:
                stats = await self._prune_batch(ids, keep)
                if stats is None:
                    return
                yield stats
                if max(stats.runs, stats.events) < ROW_BATCH:
                    break

    async def record_in_audit_log(self, deleted: PruneStats, keep: timedelta) -> None:
        """Add what was deleted, in all steps, to the audit log."""
        note = f"{deleted.runs} runs and {deleted.events} events older than {keep.days} days"
        await self._audit_log.record(AuditEntry(Action.RUNS_PRUNED, note=note))

    async def prune_audit_log(self, keep: timedelta) -> int:
        """Delete rows of the audit log older than ``keep``; return their number."""
        oldest = (
            sa.select(audit_log.c.id)
            .where(audit_log.c.at < sa.func.now() - keep)
            .order_by(audit_log.c.at)
            .limit(ROW_BATCH)
        )
        deleted = 0
        while True:
            async with self._database.long_transaction() as connection:
                is_ours, _ = (await connection.execute(_TURN)).one()
                if not is_ours:
                    return deleted
                result = await connection.execute(
                    sa.delete(audit_log).where(audit_log.c.id.in_(oldest))
                )
            deleted += result.rowcount
            if result.rowcount < ROW_BATCH:
                return deleted

    async def prune_findings(self, keep: timedelta) -> int:
        """Delete findings of the auditor that were cleared longer ago than ``keep``."""
        column = audit_findings.c.cleared_at
        async with self._database.long_transaction() as connection:
            now = self.now or (await connection.execute(sa.select(sa.func.now()))).scalar_one()
            done = await connection.execute(sa.delete(audit_findings).where(column < now - keep))
        return done.rowcount

    async def _prune_batch(self, ids: list[int], keep: timedelta) -> PruneStats | None:
        """Run one transaction; return None if another process prunes at the moment."""
        # The lock ends with the transaction. A session's lock would outlive a killed process behind
        # a pooler, which keeps the connection and gives it to another process.
        async with self._database.long_transaction() as connection:
            is_ours, now = (await connection.execute(_TURN)).one()
            if not is_ours:
                return None
            before = (self.now or now) - keep
            binds = {"campaign_ids": ids, "before": before, "max_rows": ROW_BATCH}
            runs, events = [
                len((await connection.execute(query(name), binds)).all())
                for name in ("prune_runs", "prune_events")
            ]
            return PruneStats(runs, events)

    async def _campaign_id_batches(self) -> AsyncIterator[list[int]]:
        last = 0
        while True:
            statement = (
                sa.select(campaigns.c.id)
                .where(campaigns.c.id > last)
                .order_by(campaigns.c.id)
                .limit(CAMPAIGN_BATCH)
            )
            async with self._database.statement() as connection:
                ids = list((await connection.execute(statement)).scalars())
            if not ids:
                return
            yield ids
            last = ids[-1]
