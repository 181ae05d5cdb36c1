"""A worker of the table: takes runs that wait for it, carries them out, keeps them, answers."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from daemon.domain.errors import Conflict, NotFound, Unavailable
from daemon.domain.ports import Clock, Emit
from daemon.domain.run.attempt import Attempt, AttemptUpdate, OpenAttempt
from daemon.domain.run.log_events import emit_ended, milliseconds
from daemon.domain.run.outcome import Held, Outcome, Queued
from daemon.domain.run.retry import RetryPolicy, apply_retry_policy
from daemon.domain.run.target import Target
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service

BEATS_IN_A_LEASE = 3


class WorkerQueue(Protocol):
    """Where runs wait."""

    async def take(self, target: str, worker: str, lease: float, max_rows: int) -> list[Attempt]:
        """The oldest runs that wait, each held for ``lease`` seconds."""
        ...


class WorkerStore(Protocol):
    """Where a worker says how it goes."""

    async def end(
        self, run_id: UUID, attempt: int, decide: Callable[[OpenAttempt], Outcome], actor: str
    ) -> AttemptUpdate:
        """Write what becomes of the attempt. Raises NotFound, Conflict."""
        ...

    async def extend(self, run_id: UUID, attempt: int, seconds: float) -> AttemptUpdate:
        """Hold the run for so long from now. Raises NotFound, Conflict."""
        ...


class Worker(Service):
    """Works on the runs of one target until asked to stop.

    Args:
        name: who takes them, for the table and the log.
        target: the target's name.
        carrier: carries a run out.
        policy: what becomes of a failed attempt.
        concurrency: runs under way at once.
        lease: seconds for which a run is held; renewed in time while it is carried out.
        poll: seconds between two looks when nothing waits.
        drain: seconds that runs under way are given at a stop.
    """

    name = "worker"

    def __init__(
        self,
        queue: WorkerQueue,
        answers: WorkerStore,
        carrier: Target,
        *,
        name: str,
        target: str,
        policy: RetryPolicy,
        concurrency: int,
        lease: float,
        poll: float,
        drain: float,
        clock: Clock,
        link: DatabaseHealth,
        emit: Emit,
    ) -> None:
        super().__init__()
        self._queue = queue
        self._answers = answers
        self._carrier = carrier
        self._worker = name
        self._target = target
        self._policy = policy
        self._concurrency = concurrency
        self._lease = lease
        self._poll = poll
        self._drain = drain
        self._clock = clock
        self._link = link
        self._emit = emit
        self._under_way: set[asyncio.Task[None]] = set()
        self._lost: set[UUID] = set()

    async def run(self) -> None:
        """Take and carry out; then let what is under way end, and give the rest back."""
        stop = asyncio.create_task(self.stopping.wait())
        try:
            while not self.stopping.is_set():
                try:
                    more = await self._take()
                except Unavailable as error:
                    await self._link.failed(self, error)
                    continue
                self._link.ok(self)
                await asyncio.wait(
                    {stop, *self._under_way},
                    timeout=None if more and self._under_way else self._poll,
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            stop.cancel()
            await self._finish()

    async def _take(self) -> bool:
        """Whether as many were taken as there was room for, so that more may wait."""
        room = self._concurrency - len(self._under_way)
        if room <= 0:
            return True
        works = await self._queue.take(self._target, self._worker, self._lease, room)
        for work in works:
            task = asyncio.create_task(self._carry(work), name=f"run {work.run_id}")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(works) == room

    async def _finish(self) -> None:
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=self._drain)
        left = set(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _carry(self, work: Attempt) -> None:
        keys: dict[str, Any] = {
            "campaign_id": work.campaign_id,
            "campaign_uuid": work.campaign_uuid,
            "run_id": work.run_id,
            "scheduled_for": work.scheduled_for,
            "attempt": work.attempt,
            "target": work.target,
        }
        late = milliseconds((work.started_at or work.claimed_at) - work.scheduled_for)
        self._emit("run_acquired", lateness_ms=late, **keys)
        began = self._clock.monotonic()
        task = asyncio.current_task()
        assert task is not None
        beats = asyncio.create_task(self._beat(work, task))
        outcome: Outcome
        try:
            outcome = await self._carrier.deliver(work)
        except asyncio.CancelledError:
            if work.run_id in self._lost:
                self._lost.discard(work.run_id)
                self._emit("attempt_cancelled", **keys)
                return
            outcome = Held("its worker was stopped") if self._policy.holds else Queued()
        finally:
            beats.cancel()
        took = timedelta(seconds=self._clock.monotonic() - began)
        try:
            answered = await self._answer(work, outcome)
        except (Conflict, NotFound) as error:
            self._emit("lease_lost", error=error.detail, **keys)
            return
        # Also where it was written the first time, and only the word of it was lost.
        if answered.ended is not None:
            emit_ended(self._emit, replace(answered.ended, duration=took, actor=None))

    async def _answer(self, work: Attempt, outcome: Outcome) -> AttemptUpdate:
        def decide(run: OpenAttempt) -> Outcome:
            return apply_retry_policy(
                self._policy, run.attempt, run.takeovers, outcome, random.random
            )

        while True:
            try:
                answered = await self._answers.end(work.run_id, work.attempt, decide, self._worker)
            except Unavailable as error:
                # Until it is written, or the run is somebody else's.
                await self._link.failed(self, error)
            else:
                self._link.ok(self)
                return answered

    async def _beat(self, work: Attempt, task: asyncio.Task[None]) -> None:
        while True:
            await asyncio.sleep(self._lease / BEATS_IN_A_LEASE)
            try:
                await self._answers.extend(work.run_id, work.attempt, self._lease)
            except (Conflict, NotFound):
                self._lost.add(work.run_id)
                task.cancel()
                return
            except Unavailable:
                with contextlib.suppress(Exception):
                    await asyncio.sleep(1)
