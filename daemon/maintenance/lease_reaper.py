"""Runs that are finished later: ends their leases, and collects what workers answered by SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from daemon.domain.ports import Emit
from daemon.domain.run.attempt import AttemptKey, ReclaimedRun, WorkerResult
from daemon.domain.run.log_events import emit_held
from daemon.pipeline.pipeline import Pipeline
from daemon.pipeline.store import Timer
from daemon.runtime.clock import DatabaseClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.polling_service import PollingService

ROWS_AT_ONCE = 1000
OVERDUE = timedelta(seconds=1)
"""How long the node of a run's shard is given before any other node writes the answer."""


class LeaseStore(Protocol):
    """Reads and ends the leases of runs that are finished later."""

    async def has_leased_run(self) -> bool:
        """Return whether any run is to be finished later."""
        ...

    async def reclaim_expired(
        self, hold_targets: Sequence[str], max_rows: int
    ) -> list[ReclaimedRun]:
        """Reclaim runs whose own lease has ended."""
        ...

    async def unwritten_worker_results(
        self, shards: Sequence[int], overdue_before: datetime, max_rows: int
    ) -> list[WorkerResult]:
        """Return the answers that workers wrote into the table."""
        ...


class LeaseReaper(PollingService):
    """Polls for ended leases and for answers of workers.

    Args:
        store: the leases.
        node: this node's identity.
        pipeline: writes the outcomes of workers.
        timer: loads reclaimed runs.
        every: seconds between polls.
    """

    name = "lease_reaper"

    def __init__(
        self,
        store: LeaseStore,
        node: NodeIdentity,
        pipeline: Pipeline,
        timer: Timer,
        *,
        database_clock: DatabaseClock,
        health: DatabaseHealth,
        emit: Emit,
        every: float,
    ) -> None:
        super().__init__(health, every)
        self._store = store
        self._node = node
        self._pipeline = pipeline
        self._timer = timer
        self._database_clock = database_clock
        self._emit = emit
        self._collected: dict[AttemptKey, int] = {}
        """Attempts collected at the last poll, whose outcome may not be written yet."""

    async def run_once(self) -> None:
        """Poll once. Raises Unavailable."""
        if await self._store.has_leased_run():
            await self._reclaim_expired()
            await self._collect_worker_results()

    async def _reclaim_expired(self) -> None:
        while True:
            expired = await self._store.reclaim_expired(self._node.hold_targets, ROWS_AT_ONCE)
            for run in expired:
                self._emit("run_lease_expired", **run.log_fields(), outcome=run.status)
            emit_held(self._emit, expired)
            if expired:
                self._timer.on_runs_available()
            if len(expired) < ROWS_AT_ONCE:
                return

    async def _collect_worker_results(self) -> None:
        overdue_before = self._database_clock.now() - OVERDUE
        results = await self._store.unwritten_worker_results(
            self._node.shards, overdue_before, ROWS_AT_ONCE
        )
        former, self._collected = self._collected, {}
        for result in results:
            key, number = result.attempt.key, result.attempt.number
            self._collected[key] = number
            if former.get(key) != number:
                self._pipeline.complete_external(result)
