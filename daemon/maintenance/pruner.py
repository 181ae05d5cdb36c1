"""Retention: deletes history older than the configured limit, periodically and in small steps."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple, Protocol

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.domain.read_models import PruneStats
from daemon.runtime.service import Service

FIRST_S = 60.0
"""Seconds to the first pruning: soon, so that a node that restarts often prunes too."""
EVERY_S = 3600.0
PAUSE_S = 0.05
"""Seconds between two transactions, so that pruning does not disturb firing."""


class Retention(NamedTuple):
    """For how long rows are kept; None: without a limit."""

    history: timedelta | None
    audit: timedelta | None


class PruneStore(Protocol):
    """Deletes old rows of one database."""

    def prune_history(self, keep: timedelta) -> AsyncIterator[PruneStats]:
        """Delete history older than ``keep``; yield the statistics of each transaction."""
        ...

    async def record_in_audit_log(self, deleted: PruneStats, keep: timedelta) -> None:
        """Add what was deleted to the audit log."""
        ...

    async def prune_findings(self, keep: timedelta) -> int:
        """Delete findings of the auditor cleared longer ago than ``keep``; return their number."""
        ...

    async def prune_audit_log(self, keep: timedelta) -> int:
        """Delete rows of the audit log older than ``keep``; return their number."""
        ...


class Pruner(Service):
    """Prunes periodically what has a limit; of several nodes one prunes history at a time.

    Args:
        store: deletes old rows.
        retention: returns for how long rows are kept.
        first: seconds from the start to the first pruning, varied by half, so that nodes that start
            together do not prune together.
        every: seconds between prunings.
    """

    name = "pruner"

    def __init__(
        self,
        store: PruneStore,
        retention: Callable[[], Retention],
        *,
        emit: Emit,
        first: float = FIRST_S,
        every: float = EVERY_S,
    ) -> None:
        super().__init__()
        self._store = store
        self._retention = retention
        self._emit = emit
        self._first = first
        self._every = every

    async def run(self) -> None:
        """Prune until asked to stop."""
        wait = self._first * random.uniform(0.5, 1.5)
        while not await self.wait_for_stop(wait):
            wait = self._every
            retention = self._retention()
            with suppress(Unavailable):  # services that fire log the outage
                if retention.history is not None:
                    await self._prune_history(retention.history)
                    await self._store.prune_findings(retention.history)
                if retention.audit is not None:
                    await self._store.prune_audit_log(retention.audit)

    async def _prune_history(self, keep: timedelta) -> None:
        runs = events = 0
        async for done in self._store.prune_history(keep):
            runs, events = runs + done.runs, events + done.events
            if await self.wait_for_stop(PAUSE_S):
                break
        if runs or events:
            self._emit("history_pruned", runs=runs, events=events, keep_days=keep.days)
            await self._store.record_in_audit_log(PruneStats(runs, events), keep)
