"""Writes outcomes: those that gather while one batch is written go into the next."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.errors import Unavailable
from daemon.domain.formatting import error_line
from daemon.domain.ports import emit_each
from daemon.domain.run.attempt import (
    Attempt,
    AttemptKey,
    ExpiredAttempt,
    FinishedAttempt,
    FinishResult,
)
from daemon.domain.run.log_events import EVENTS, milliseconds
from daemon.domain.run.outcome import Delivered, Outcome, Reject
from daemon.pipeline.batching import bisect_failures
from daemon.pipeline.context import PipelineContext
from daemon.runtime.service import Service, run_concurrently
from daemon.runtime.stopwatch import Stopwatch

CONCURRENT_WRITES = 2
"""Batches under way: the server writes one while this process makes or logs the other."""

FIRST_RETRY_S = 0.02
LONGEST_RETRY_S = 1.0
"""Seconds until an outcome whose campaign or run is locked is tried again; at first they double."""
WAITING_S = 5.0
"""Seconds that outcomes wait for a lock before they are logged."""
LOG_EVERY_S = 60.0
"""Seconds between two lines about outcomes that wait."""

YIELD_EVERY = 200
"""Log lines made before the event loop may go on."""

_DIFFERING = (
    "campaign_id",
    "campaign_uuid",
    "run_id",
    "scheduled_for",
    "attempt",
    "lateness_ms",
    "duration_ms",
    "error",
    "actor",
)
"""The keys of a log line that differ between the outcomes of a batch."""

UNWRITABLE = Reject("the outcome could not be written; the log says why, at finish_failed")


class Completer(Service):
    """From finished to durably written, a batch at a time, with the next one under way.

    Args:
        context: what the stages of the pipeline share.
    """

    name = "completer"

    def __init__(self, context: PipelineContext) -> None:
        super().__init__()
        self._context = context
        self._queue: deque[FinishedAttempt] = deque()
        self._unwritten: dict[AttemptKey, Attempt] = {}
        self._unacknowledged: set[AttemptKey] = set()
        """Runs whose outcome may be written already: the reply of the database was lost."""
        self._blocked_since: dict[AttemptKey, float] = {}
        """When outcomes that wait for another session's lock were tried first, monotonic."""
        self._put_off: set[AttemptKey] = set()
        """Those of them that are not in the queue at the moment."""
        self._next_log = 0.0
        self._wake = asyncio.Event()
        self._batch_written = asyncio.Event()
        self.busy = Stopwatch(context.clock)

    def complete_local(
        self,
        ended: Iterable[tuple[Attempt, Outcome]],
        started_at: datetime | None,
        seconds: float,
    ) -> None:
        """Queue the outcomes of attempts that this node made.

        Args:
            ended: attempts with their outcomes, after the retry policy.
            started_at: their start by the database clock; None if they never started.
            seconds: the duration of each.
        """
        for attempt, outcome in ended:
            self._unwritten[attempt.campaign_id, attempt.scheduled_for] = attempt
            self._queue.append(
                FinishedAttempt(attempt, outcome, RunStatus.EXECUTING, started_at, seconds)
            )
        self._wake.set()

    def complete_external(
        self, attempt: Attempt, outcome: Outcome, worker: str, seconds: float
    ) -> None:
        """Queue the outcome of an attempt that a worker made, and its duration in seconds."""
        self._enqueue(
            FinishedAttempt(attempt, outcome, RunStatus.EXECUTING, None, seconds, actor=worker)
        )

    def expire(self, expired: ExpiredAttempt) -> None:
        """Queue the end of a pending run that gets no other attempt."""
        self._enqueue(FinishedAttempt(expired.attempt, expired.outcome, expired.expected))

    async def wait_written(self) -> None:
        """Wait until the next batch is written."""
        self._batch_written.clear()
        await self._batch_written.wait()

    async def run(self) -> None:
        """Write until asked to stop and nothing is left."""
        await run_concurrently(self._write_batches, CONCURRENT_WRITES)

    async def stop(self, grace: float | None = None) -> None:
        """Stop once everything is written, or after ``grace`` seconds."""
        self.stopping.set()
        self._wake.set()
        await super().stop(grace)

    def _enqueue(self, finished: FinishedAttempt) -> None:
        attempt = finished.attempt
        self._unwritten[attempt.campaign_id, attempt.scheduled_for] = attempt
        self._queue.append(finished)
        self._wake.set()

    async def _write_batches(self) -> None:
        health = self._context.health
        while self._queue or self._put_off or not self.stopping.is_set():
            if await health.wait_while_backing_off(self):
                continue
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            since = self._context.clock.monotonic()
            size = min(self._context.batch, len(self._queue))
            batch = [self._queue.popleft() for _ in range(size)]
            try:
                with self.busy.time_lap():
                    left = await self._write_plain(batch)
                    if left:
                        await bisect_failures(left, self._write_batch, self._on_unwritable)
            except Unavailable as error:
                # Guarded by attempt and node, so writing an outcome twice changes nothing.
                left = [
                    item
                    for item in batch
                    if self._is_unwritten(item.attempt) and item.attempt.key not in self._put_off
                ]
                self._unacknowledged.update(item.attempt.key for item in left)
                self._queue.extendleft(reversed(left))
                await health.failed(self, error)
            else:
                health.succeeded(self, since)

    async def _write_plain(self, batch: Sequence[FinishedAttempt]) -> Sequence[FinishedAttempt]:
        """Write plain outcomes by the short statement; return what is left for the general one."""
        plain = [
            item
            for item in batch
            if type(item.outcome) is Delivered
            and item.attempt.number == 1
            and item.expected is RunStatus.EXECUTING
            and item.actor is None
        ]
        if not plain:
            return batch
        try:
            results = await self._context.store.finish_plain(plain)
        except Unavailable:
            raise
        except Exception:
            return batch  # the general statement finds the outcome that is the cause
        await self._on_written(plain, results)
        written = {id(plain[place]) for result in results for place in result.places}
        return [item for item in batch if id(item) not in written]

    async def _write_batch(self, batch: Sequence[FinishedAttempt]) -> None:
        results = await self._context.store.finish(batch)
        missing = set(range(len(batch))).difference(*(result.places for result in results))
        if self._unacknowledged:
            for place in sorted(missing):
                if (found := await self._find_result(batch[place])) is not None:
                    results.append(found._replace(places=[place]))
                    missing.remove(place)
        blocked = await self._find_blocked([batch[place] for place in missing]) if missing else {}
        await self._on_written(batch, results)
        refused = [
            batch[place] for place in sorted(missing) if batch[place].attempt.key not in blocked
        ]
        if made_here := [item for item in refused if item.actor is None]:
            await self._context.store.record_overtaken(made_here)
        for item in refused:
            self._forget([item])
            self._context.emit("lease_lost", **item.attempt.log_fields())
        if blocked:
            self._retry_later([item for item in batch if item.attempt.key in blocked], blocked)
        self._notify_written()

    async def _on_written(
        self, batch: Sequence[FinishedAttempt], results: Sequence[FinishResult]
    ) -> None:
        """Log what was written, and report it to the timer and to the claimer."""
        for result in results:
            items = [batch[place] for place in result.places]
            for start in range(0, len(items), YIELD_EVERY):
                if start:
                    await asyncio.sleep(0)
                part = items[start : start + YIELD_EVERY]
                self._forget(part)
                self._log_outcomes(part, result)
            if result.status is RunStatus.FAILED:
                self._context.on_failed([item.attempt.campaign_id for item in items])
            self._context.timer.runs_finished(
                [item.attempt.campaign_id for item in items], promoted=result.promoted
            )
        self._notify_written()

    def _forget(self, items: Sequence[FinishedAttempt]) -> None:
        """Forget attempts whose outcome is written, or not this node's to write."""
        for item in items:
            attempt = item.attempt
            key = attempt.campaign_id, attempt.scheduled_for
            if self._unwritten.get(key) is attempt:
                del self._unwritten[key]
            if self._blocked_since:
                self._blocked_since.pop(key, None)
            if self._unacknowledged:
                self._unacknowledged.discard(key)
        self._context.in_flight.remove([item.attempt for item in items])

    def _notify_written(self) -> None:
        self._batch_written.set()
        self._context.claims_wanted.set()

    async def _find_blocked(
        self, missing: Sequence[FinishedAttempt]
    ) -> Mapping[AttemptKey, int | None]:
        """Return which missing results are due to a lock; a lock holds up no other outcome."""
        return await self._context.store.find_blocked(
            [(item.attempt, item.expected) for item in missing]
        )

    def _retry_later(
        self, items: Sequence[FinishedAttempt], pids: Mapping[AttemptKey, int | None]
    ) -> None:
        now = self._context.clock.monotonic()
        for item in items:
            self._blocked_since.setdefault(item.attempt.key, now)
            self._put_off.add(item.attempt.key)
            self._context.in_flight.block(item.attempt)
        waited = now - max(self._blocked_since[item.attempt.key] for item in items)
        retry_after = min(FIRST_RETRY_S + waited, LONGEST_RETRY_S)
        asyncio.get_running_loop().call_later(retry_after, self._put_back, items)
        self._log_waiting(items, pids, now)

    def _put_back(self, items: Sequence[FinishedAttempt]) -> None:
        self._put_off.difference_update(item.attempt.key for item in items)
        self._queue.extend(items)
        self._wake.set()

    def _log_waiting(
        self,
        items: Sequence[FinishedAttempt],
        pids: Mapping[AttemptKey, int | None],
        now: float,
    ) -> None:
        oldest = min(items, key=lambda item: self._blocked_since[item.attempt.key]).attempt
        waited = now - self._blocked_since[oldest.key]
        if waited < WAITING_S or now < self._next_log:
            return
        self._next_log = now + LOG_EVERY_S
        self._context.emit(
            "outcomes_waiting",
            count=len(self._blocked_since),
            waited_s=round(waited, 3),
            campaign_id=oldest.campaign_id,
            blocking_pid=pids[oldest.key],
        )

    async def _find_result(self, item: FinishedAttempt) -> FinishResult | None:
        """Return what was written of an outcome whose reply was lost, if it was written."""
        if item.attempt.key not in self._unacknowledged:
            return None
        return await self._context.store.find_finish_result(item.attempt, item.outcome)

    def _is_unwritten(self, attempt: Attempt) -> bool:
        return self._unwritten.get(attempt.key) is attempt

    def _log_outcomes(self, items: Sequence[FinishedAttempt], result: FinishResult) -> None:
        batches: defaultdict[str, list[tuple[object, ...]]] = defaultdict(list)
        for item in items:
            attempt = item.attempt
            # Without a start, lateness is that of the decision. A node's clock may be behind.
            started_at = attempt.started_at or max(
                item.started_at or attempt.claimed_at, attempt.claimed_at
            )
            row = (
                attempt.campaign_id,
                attempt.campaign_uuid,
                attempt.run_id,
                attempt.scheduled_for,
                attempt.number,
                milliseconds(started_at - attempt.scheduled_for),
                None if item.seconds is None else round(item.seconds * 1000, 3),
                getattr(item.outcome, "reason", None),
                item.actor,
            )
            batches[attempt.target].append(row)
        for target, rows in batches.items():
            fields: dict[str, object] = {
                "campaign_id": None,
                "campaign_uuid": None,
                "run_id": None,
                "scheduled_for": None,
                "attempt": None,
                "target": target,
                "lateness_ms": None,
                "duration_ms": None,
                "outcome": result.status,
                "from_status": result.from_status,
                "to_status": result.to_status,
                "error": None,
                "actor": None,
            }
            emit_each(self._context.emit, EVENTS[result.status], fields, _DIFFERING, rows)

    def _on_unwritable(self, item: FinishedAttempt, error: Exception) -> None:
        self._context.emit("finish_failed", **item.attempt.log_fields(), error=error_line(error))
        if item.outcome != UNWRITABLE:
            # The run would stay executing for as long as this node lives.
            self._enqueue(item._replace(outcome=UNWRITABLE))
            return
        self._forget([item])
        self._notify_written()
