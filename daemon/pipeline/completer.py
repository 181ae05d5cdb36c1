"""Writes what became of runs: outcomes that gather while one batch is written go in the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.errors import Unavailable
from daemon.domain.ports import Clock, Emit
from daemon.domain.run.attempt import Attempt, FinishResult
from daemon.domain.run.log_events import EVENTS, milliseconds
from daemon.domain.run.outcome import Outcome, Reject
from daemon.pipeline.claimer import bisect_failures
from daemon.pipeline.store import PipelineStore
from daemon.pipeline.target_pool import TargetPool, key_of
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service, run_concurrently
from daemon.runtime.stopwatch import Stopwatch

AT_ONCE = 2
"""Batches under way: the server writes one while this process makes or tells the other."""

TOLD_AT_ONCE = 200
"""Lines made before the event loop may go on."""

UNWRITABLE = Reject("the outcome could not be written; the log says why, at finish_failed")


class FinishedAttempt(NamedTuple):
    """An attempt's outcome on its way to the database."""

    work: Attempt
    outcome: Outcome
    expected: str
    lane: TargetPool | None
    duration: float | None
    """Seconds of the attempt, if there was one."""
    begun: datetime | None = None
    """By the database's clock as far as known; None if this node did not make the attempt."""
    actor: str | None = None
    """Who ended it, if it was not this node."""


class Completer(Service):
    """From ended to durably written, a batch at a time, with the next one under way."""

    name = "finish"

    def __init__(
        self,
        store: PipelineStore,
        *,
        clock: Clock,
        link: DatabaseHealth,
        emit: Emit,
        batch: int,
        follow: Callable[[FinishResult], None],
        room_freed: Callable[[], None],
    ) -> None:
        super().__init__()
        self._store = store
        self._clock = clock
        self._link = link
        self._emit = emit
        self._batch = batch
        self._follow = follow
        self._room_freed = room_freed
        self._ended: deque[FinishedAttempt] = deque()
        self._others: dict[tuple[int, datetime], Attempt] = {}
        """What no lane of this node has in hand, until it is written."""
        self._unsure: set[tuple[int, datetime]] = set()
        """What may be written already: the database's answer was lost."""
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self.busy = Stopwatch(clock)

    def ended(
        self,
        lane: TargetPool,
        work: Attempt,
        outcome: Outcome,
        duration: float,
        begun: datetime | None,
    ) -> None:
        """An attempt of this node has ended."""
        self._add(FinishedAttempt(work, outcome, RunStatus.EXECUTING, lane, duration, begun))

    def settle(self, work: Attempt, outcome: Outcome, expected: str) -> None:
        """A run that waits is over without another attempt."""
        self._add(FinishedAttempt(work, outcome, expected, None, None))

    def answered(self, work: Attempt, outcome: Outcome, by: str, duration: float) -> None:
        """Somebody else's attempt has ended, after so many seconds."""
        self._add(FinishedAttempt(work, outcome, RunStatus.EXECUTING, None, duration, actor=by))

    def _add(self, ended: FinishedAttempt) -> None:
        if ended.lane is None:
            self._others[key_of(ended.work)] = ended.work
        self._ended.append(ended)
        self._wake.set()

    async def stop(self, grace: float | None = None) -> None:
        """Ask to stop once everything is written."""
        self.stopping.set()
        self._wake.set()
        await super().stop(grace)

    async def wait_written(self) -> None:
        """Until the next batch is written."""
        self._written.clear()
        await self._written.wait()

    async def run(self) -> None:
        """Write until asked to stop and nothing is left."""
        await run_concurrently(self._run, AT_ONCE)

    async def _run(self) -> None:
        while self._ended or not self.stopping.is_set():
            if await self._link.waits_with(self):
                continue
            if not self._ended:
                self._wake.clear()
                await self._wake.wait()
                continue
            since = self._clock.monotonic()
            batch = [self._ended.popleft() for _ in range(min(self._batch, len(self._ended)))]
            try:
                with self.busy.lap():
                    await bisect_failures(batch, self._write, self._poisoned)
            except Unavailable as error:
                # Guarded by attempt and node: writing some of them a second time changes nothing.
                left = [item for item in batch if self._is_open(item)]
                self._unsure.update(key_of(item.work) for item in left)
                self._ended.extendleft(reversed(left))
                await self._link.failed(self, error)
            else:
                self._link.ok(self, since)

    def _is_open(self, item: FinishedAttempt) -> bool:
        in_flight = self._others if item.lane is None else item.lane.in_flight
        return in_flight.get(key_of(item.work)) is item.work

    def _forget(self, item: FinishedAttempt) -> None:
        if item.lane is None:
            self._others.pop(key_of(item.work), None)
        else:
            item.lane.forget(item.work)

    async def _write(self, batch: Sequence[FinishedAttempt]) -> None:
        written = await self._store.finish(
            [(item.work, item.outcome, item.expected, item.begun) for item in batch]
        )
        if self._unsure:
            written = [
                row if row is not None else await self._heard_late(item)
                for item, row in zip(batch, written, strict=True)
            ]
            self._unsure.difference_update(key_of(item.work) for item in batch)
        for number, (item, row) in enumerate(zip(batch, written, strict=True), start=1):
            if number % TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)
            self._forget(item)
            if row is None:
                self._emit("lease_lost", **_keys(item.work))
                continue
            self._tell(item, row)
            self._follow(row)
        self._written.set()
        self._room_freed()

    async def _heard_late(self, item: FinishedAttempt) -> FinishResult | None:
        """What was written of it when the answer was lost, if it was."""
        if key_of(item.work) not in self._unsure:
            return None
        return await self._store.find_finish_result(item.work, item.outcome)

    def _tell(self, item: FinishedAttempt, row: FinishResult) -> None:
        work, outcome = item.work, item.outcome
        # Of what never began, to the decision.
        began = work.started_at or item.begun or work.claimed_at
        more = {"actor": item.actor} if item.actor is not None else {}
        if (reason := getattr(outcome, "reason", None)) is not None:
            more["error"] = reason
        self._emit(
            EVENTS[row.status],
            campaign_id=work.campaign_id,
            campaign_uuid=work.campaign_uuid,
            run_id=work.run_id,
            scheduled_for=work.scheduled_for,
            attempt=work.attempt,
            target=work.target,
            lateness_ms=milliseconds(began - work.scheduled_for),
            duration_ms=None if item.duration is None else round(item.duration * 1000, 3),
            outcome=row.status,
            from_status=row.from_status,
            to_status=row.to_status,
            **more,
        )

    def _poisoned(self, item: FinishedAttempt, error: Exception) -> None:
        self._emit("finish_failed", **_keys(item.work), error=f"{type(error).__name__}: {error}")
        if item.outcome != UNWRITABLE:
            # Left executing on a node that lives, the run would be open for ever.
            self._add(item._replace(outcome=UNWRITABLE))
            return
        self._forget(item)
        self._written.set()
        self._room_freed()


def _keys(work: Attempt) -> dict[str, object]:
    return {
        "campaign_id": work.campaign_id,
        "campaign_uuid": work.campaign_uuid,
        "run_id": work.run_id,
        "scheduled_for": work.scheduled_for,
        "attempt": work.attempt,
        "target": work.target,
    }
