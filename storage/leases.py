"""Runs that are finished later: leases that end, answers in the table, what a worker takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from daemon.domain.run.attempt import Attempt, ReclaimedRun, WorkerResult
from daemon.domain.run.outcome import Delivered, Outcome, Reject, Retry
from daemon.runtime.node_identity import NodeIdentity
from storage.binary_arrays import bigints, instants
from storage.engine import Database
from storage.queries import query
from storage.runs import taken_from, work_from


class LeaseTable:
    """What a node does about runs that nobody has in hand.

    Args:
        database: where to.
        node: this node's identity.
        now: an instant to use instead of the server's clock, for tests.
    """

    def __init__(self, database: Database, node: NodeIdentity, now: datetime | None = None) -> None:
        self._database = database
        self._node = node
        self.now = now

    async def _rows(self, name: str, binds: dict[str, Any]) -> Sequence[Any]:
        async with self._database.statement() as connection:
            rows: Sequence[Any] = (await connection.execute(query(name), binds)).all()
            return rows

    async def any_leased(self) -> bool:
        """Whether any run is out to be finished later."""
        (row,) = await self._rows("look_for_leases", {})
        return bool(row.found)

    async def expire(self, hold_targets: Sequence[str], max_rows: int) -> list[ReclaimedRun]:
        """Take back runs that were not finished within their lease: to be retried, or held."""
        binds = {
            "node": self._node.id,
            "hold_targets": list(hold_targets),
            "max_rows": max_rows,
            "now": self.now,
        }
        return [taken_from(row) for row in await self._rows("expire_leases", binds)]

    async def worker_results(
        self,
        shards: Sequence[int],
        overdue_before: datetime,
        max_rows: int,
    ) -> list[WorkerResult]:
        """What workers have answered in the table, still to be written as outcomes."""
        binds = {"shards": list(shards), "overdue_before": overdue_before, "max_rows": max_rows}
        rows = await self._rows("load_answers", binds)
        return [
            WorkerResult(work_from(row, row.attempt), _outcome(row), row.node, row.seconds)
            for row in rows
        ]

    async def statuses(
        self, attempts: Sequence[Attempt]
    ) -> dict[tuple[int, datetime], tuple[str, int, str]]:
        """Status and attempt of runs, and their campaign's, by (campaign id, scheduled for)."""
        binds = {
            "campaign_ids": bigints([attempt.campaign_id for attempt in attempts]),
            "scheduled_fors": instants([attempt.scheduled_for for attempt in attempts]),
        }
        rows = await self._rows("load_statuses", binds)
        return {
            (row.campaign_id, row.scheduled_for): (row.status, row.attempt, row.campaign)
            for row in rows
        }

    async def acquire(self, target: str, worker: str, lease: float, max_rows: int) -> list[Attempt]:
        """For a worker: the oldest runs that wait for it, each held for ``lease`` seconds."""
        binds = {
            "target": target,
            "worker": worker,
            "lease": lease,
            "max_rows": max_rows,
            "now": self.now,
        }
        return [work_from(row, row.attempt) for row in await self._rows("take_runs", binds)]


def _outcome(row: Any) -> Outcome:
    reason = row.error or "the worker gave no reason"
    match row.answer:
        case "completed":
            return Delivered()
        case "retry":
            return Retry(reason)
        case _:
            return Reject(reason)
