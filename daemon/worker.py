"""The loop of `campaignd worker`: acquires runs that wait in the table, and carries them out."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from daemon.domain.errors import Conflict, NotFound, Unavailable
from daemon.domain.ports import Clock, Emit
from daemon.domain.run.attempt import Attempt, AttemptUpdate, OpenAttempt
from daemon.domain.run.log_events import emit_ended, milliseconds
from daemon.domain.run.outcome import Held, NotStarted, Outcome, Queued
from daemon.domain.run.retry import RetryPolicy, apply_retry_policy
from daemon.domain.run.target import Target
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service

HEARTBEATS_PER_LEASE = 3
FIRST_PAUSE_S = 1.0
"""Seconds to wait when the process lacks resources to start an attempt; then twice as long."""
LONGEST_PAUSE_S = 30.0


class WorkerQueue(Protocol):
    """The runs that wait for a worker."""

    async def acquire(self, target: str, worker: str, lease: float, max_rows: int) -> list[Attempt]:
        """Acquire the oldest runs of a target, each leased for ``lease`` seconds."""
        ...


class WorkerStore(Protocol):
    """Where a worker reports progress and results."""

    async def end_attempt(
        self, run_id: UUID, attempt: int, decide: Callable[[OpenAttempt], Outcome], actor: str
    ) -> AttemptUpdate:
        """Write the outcome that ``decide`` returns. Raises NotFound, Conflict."""
        ...

    async def extend_lease(self, run_id: UUID, attempt: int, seconds: float) -> AttemptUpdate:
        """Extend the lease of a run to ``seconds`` from now. Raises NotFound, Conflict."""
        ...


class Worker(Service):
    """Works on the runs of one target until asked to stop.

    Args:
        queue: the runs that wait.
        results: where progress and results are reported.
        target: carries a run out.
        worker_name: the name of this worker in the table and in the log.
        target_name: the target's name.
        policy: the target's retry policy.
        concurrency: maximum runs under way at once.
        lease: seconds that a run is leased; renewed while it is carried out.
        poll: seconds between polls while no run waits.
        drain: seconds that runs under way are given at a stop.
    """

    name = "worker"

    def __init__(
        self,
        queue: WorkerQueue,
        results: WorkerStore,
        target: Target,
        *,
        worker_name: str,
        target_name: str,
        policy: RetryPolicy,
        concurrency: int,
        lease: float,
        poll: float,
        drain: float,
        clock: Clock,
        health: DatabaseHealth,
        emit: Emit,
    ) -> None:
        super().__init__()
        self._queue = queue
        self._results = results
        self._target = target
        self._worker_name = worker_name
        self._target_name = target_name
        self._policy = policy
        self._concurrency = concurrency
        self._lease = lease
        self._poll = poll
        self._drain = drain
        self._clock = clock
        self._health = health
        self._emit = emit
        self._under_way: set[asyncio.Task[None]] = set()
        self._lost: set[UUID] = set()

    async def run(self) -> None:
        """Acquire and carry out runs; at a stop, wait for those under way and release the rest."""
        stop = asyncio.create_task(self.stopping.wait())
        try:
            while not self.stopping.is_set():
                try:
                    has_more = await self._acquire_runs()
                except Unavailable as error:
                    await self._health.failed(self, error)
                    continue
                self._health.succeeded(self)
                await asyncio.wait(
                    {stop, *self._under_way},
                    timeout=None if has_more and self._under_way else self._poll,
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            stop.cancel()
            await self._drain_runs()

    async def _acquire_runs(self) -> bool:
        """Return whether as many runs were acquired as there was room for, so more may wait."""
        room = self._concurrency - len(self._under_way)
        if room <= 0:
            return True
        attempts = await self._queue.acquire(
            self._target_name, self._worker_name, self._lease, room
        )
        for attempt in attempts:
            task = asyncio.create_task(self._carry_out_run(attempt), name=f"run {attempt.run_id}")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(attempts) == room

    async def _drain_runs(self) -> None:
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=self._drain)
        left = set(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _carry_out_run(self, attempt: Attempt) -> None:
        lateness = (attempt.started_at or attempt.claimed_at) - attempt.scheduled_for
        self._emit("run_acquired", **attempt.log_fields(), lateness_ms=milliseconds(lateness))
        began = self._clock.monotonic()
        task = asyncio.current_task()
        assert task is not None
        heartbeats = asyncio.create_task(self._renew_lease(attempt, task))
        outcome: Outcome
        pause = 0.0
        try:
            while isinstance(outcome := await self._target.deliver(attempt), NotStarted):
                pause = min(2 * pause or FIRST_PAUSE_S, LONGEST_PAUSE_S)
                self._emit(
                    "target_paused",
                    target=self._target_name,
                    pause_s=pause,
                    error=outcome.reason,
                )
                await asyncio.sleep(pause)
        except asyncio.CancelledError:
            if attempt.run_id in self._lost:
                self._lost.discard(attempt.run_id)
                self._emit("attempt_cancelled", **attempt.log_fields())
                return
            outcome = Held("its worker was stopped") if self._policy.holds else Queued()
        finally:
            heartbeats.cancel()
        duration = timedelta(seconds=self._clock.monotonic() - began)
        try:
            update = await self._write_outcome(attempt, outcome)
        except (Conflict, NotFound) as error:
            self._emit("lease_lost", **attempt.log_fields(), error=error.detail)
            return
        # Also when the first write succeeded and only its reply was lost.
        if update.ended is not None:
            emit_ended(self._emit, replace(update.ended, duration=duration, actor=None))

    async def _write_outcome(self, attempt: Attempt, outcome: Outcome) -> AttemptUpdate:
        """Write the outcome, however long the database is away. Raises NotFound, Conflict."""

        def decide(run: OpenAttempt) -> Outcome:
            return apply_retry_policy(
                self._policy, run.attempt, run.takeovers, outcome, random.random
            )

        while True:
            try:
                update = await self._results.end_attempt(
                    attempt.run_id, attempt.number, decide, self._worker_name
                )
            except Unavailable as error:
                await self._health.failed(self, error)
            else:
                self._health.succeeded(self)
                return update

    async def _renew_lease(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        """Renew the run's lease until cancelled; cancel ``task`` when the run was taken away."""
        while True:
            await asyncio.sleep(self._lease / HEARTBEATS_PER_LEASE)
            try:
                await self._results.extend_lease(attempt.run_id, attempt.number, self._lease)
            except (Conflict, NotFound):
                self._lost.add(attempt.run_id)
                task.cancel()
                return
            except Unavailable:
                with contextlib.suppress(Exception):
                    await asyncio.sleep(1)
