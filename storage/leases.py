"""Accepted runs, which finish later: expired leases, stored results, runs for workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from daemon.domain.run.attempt import Attempt, ReclaimedRun, WorkerResult
from daemon.domain.run.outcome import Delivered, Outcome, Reject, Retry
from daemon.runtime.node_identity import NodeIdentity
from storage.binary_arrays import bigints, instants
from storage.engine import Database
from storage.run_rows import attempt_from, reclaimed_from


class LeaseTable:
    """Reads and changes accepted runs, which no node has in flight.

    Args:
        database: the database of the runs.
        node: this node's identity.
        now: an instant that replaces the database clock, for tests.
    """

    def __init__(self, database: Database, node: NodeIdentity, now: datetime | None = None) -> None:
        self._database = database
        self._node = node
        self.now = now

    async def has_leased_run(self) -> bool:
        """Return whether any run has a lease of its own."""
        (row,) = await self._database.rows("poll_leases")
        return bool(row.found)

    async def reclaim_expired(
        self, hold_targets: Sequence[str], max_rows: int
    ) -> list[ReclaimedRun]:
        """Reclaim runs that did not finish within their lease; they are retried or held."""
        binds = {
            "node": self._node.id,
            "hold_targets": list(hold_targets),
            "max_rows": max_rows,
            "now": self.now,
        }
        return [reclaimed_from(row) for row in await self._database.rows("expire_leases", **binds)]

    async def unwritten_worker_results(
        self,
        shards: Sequence[int],
        overdue_before: datetime,
        max_rows: int,
    ) -> list[WorkerResult]:
        """Return the results that workers stored in the table, to be written as outcomes."""
        binds = {"shards": list(shards), "overdue_before": overdue_before, "max_rows": max_rows}
        rows = await self._database.rows("load_worker_results", **binds)
        return [
            WorkerResult(attempt_from(row, row.attempt), _outcome_from(row), row.node, row.seconds)
            for row in rows
        ]

    async def statuses(
        self, attempts: Sequence[Attempt]
    ) -> dict[tuple[int, datetime], tuple[str, int, str]]:
        """Return (status, attempt, campaign's status) by (campaign id, scheduled for)."""
        binds = {
            "campaign_ids": bigints([attempt.campaign_id for attempt in attempts]),
            "scheduled_fors": instants([attempt.scheduled_for for attempt in attempts]),
        }
        rows = await self._database.rows("load_run_statuses", **binds)
        return {
            (row.campaign_id, row.scheduled_for): (row.status, row.attempt, row.campaign)
            for row in rows
        }

    async def acquire(self, target: str, worker: str, lease: float, max_rows: int) -> list[Attempt]:
        """Acquire the oldest runs that wait for a worker, each for ``lease`` seconds."""
        binds = {
            "target": target,
            "worker": worker,
            "lease": lease,
            "max_rows": max_rows,
            "now": self.now,
        }
        return [
            attempt_from(row, row.attempt)
            for row in await self._database.rows("acquire_runs", **binds)
        ]


def _outcome_from(row: Any) -> Outcome:
    reason = row.error or "the worker gave no reason"
    match row.answer:
        case "completed":
            return Delivered()
        case "retry":
            return Retry(reason)
        case _:
            return Reject(reason)
