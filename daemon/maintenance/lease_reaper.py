"""Runs finished later: ends their leases, and writes what workers answered in the table."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.domain.run.attempt import Attempt, ReclaimedRun, WorkerResult
from daemon.domain.run.log_events import emit_held
from daemon.domain.run.outcome import Outcome
from daemon.pipeline.target_pool import TargetPool, key_of
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service

ROWS_AT_ONCE = 1000
OVERDUE = timedelta(seconds=1)
"""How long the node that a run belongs to is given, before any other writes its answer."""


class LeaseStore(Protocol):
    """What is asked of the database."""

    async def are_out(self) -> bool:
        """Whether any run is out to be finished later."""
        ...

    async def expire(self, hold_targets: Sequence[str], max_rows: int) -> list[ReclaimedRun]:
        """Take back runs whose own lease ended."""
        ...

    async def answered(
        self, shards: Sequence[int], overdue_before: datetime, max_rows: int
    ) -> list[WorkerResult]:
        """Answers that workers wrote into the table."""
        ...


class LeaseReaper(Service):
    """Looks every ``every`` seconds, and when told that something was edited.

    Args:
        lane: a target's lane, whose policy says what becomes of a failed attempt.
        hold_targets: the targets whose lost runs wait for a person.
        answered: writes an outcome; see `daemon.pipeline.completer.Finisher.answered`.
        on_freed: told when runs are due again.
    """

    name = "leases"

    def __init__(
        self,
        store: LeaseStore,
        *,
        lane: Callable[[str], TargetPool],
        hold_targets: Callable[[], Sequence[str]],
        answered: Callable[[Attempt, Outcome, str, float], None],
        database_now: Callable[[], datetime],
        on_freed: Callable[[], None],
        link: DatabaseHealth,
        emit: Emit,
        every: float,
    ) -> None:
        super().__init__()
        self._store = store
        self._lane = lane
        self._hold_targets = hold_targets
        self._answered = answered
        self._database_now = database_now
        self._on_freed = on_freed
        self._link = link
        self._emit = emit
        self._every = every
        self._settled: dict[tuple[int, datetime], int] = {}
        self._wake = asyncio.Event()
        self.shards: tuple[int, ...] = ()

    def look(self) -> None:
        """Look now. Never blocks."""
        self._wake.set()

    async def run(self) -> None:
        """Look until asked to stop."""
        while not self.stopping.is_set():
            try:
                if await self._store.are_out():
                    await self._expire()
                    await self._collect()
            except Unavailable as error:
                await self._link.failed(self, error)
                continue
            self._link.ok(self)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._every)
            self._wake.clear()

    async def stop(self, grace: float | None = None) -> None:
        """Look no more."""
        self.stopping.set()
        self._wake.set()
        await super().stop(grace)

    async def _expire(self) -> None:
        while True:
            ended = await self._store.expire(self._hold_targets(), ROWS_AT_ONCE)
            for run in ended:
                self._emit("run_lease_expired", **run.log_fields(), outcome=run.status)
            emit_held(self._emit, ended)
            if ended:
                self._on_freed()
            if len(ended) < ROWS_AT_ONCE:
                return

    async def _collect(self) -> None:
        overdue_before = self._database_now() - OVERDUE
        answered = await self._store.answered(self.shards, overdue_before, ROWS_AT_ONCE)
        # What was handed on already and is not written yet is left alone.
        settled, self._settled = self._settled, {}
        for work, outcome, worker, seconds in answered:
            self._settled[key_of(work)] = work.attempt
            if settled.get(key_of(work)) != work.attempt:
                judged = self._lane(work.target).judge(work, outcome)
                self._answered(work, judged, worker, seconds)
