"""The worker pool of one target: its backlog, its claimed attempts and its concurrency."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Collection, Sequence
from uuid import UUID

from daemon.domain.run.attempt import Attempt, AttemptKey, DueEntry
from daemon.domain.run.outcome import Outcome
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.run.target import Target
from daemon.pipeline.attempt_runner import AttemptRunner, Delivery
from daemon.pipeline.backlog import Backlog
from daemon.pipeline.circuit_breaker import CircuitBreaker
from daemon.pipeline.completer import Completer
from daemon.pipeline.context import PipelineContext

YIELD_AFTER_S = 0.002
"""Seconds after which workers of targets that never wait yield to the event loop."""
ADVANCE_S = 0.5
"""Seconds of work to claim in advance for targets that wait on an external system."""


class TargetPool:
    """Bounds what one target may have in flight, so that no target delays another's runs.

    Args:
        name: the target's name.
        target: where attempts are delivered.
        policy: the target's retry policy.
        concurrency: maximum attempts under way at once.
        context: what the stages of the pipeline share.
        completer: receives every outcome.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        policy: RetryPolicy,
        concurrency: int,
        *,
        context: PipelineContext,
        completer: Completer,
    ) -> None:
        self.name = name
        self.target = target
        self.claiming = 0
        """Entries popped from the backlog whose claim is under way."""
        self.is_frozen = False
        """Whether a freeze keeps every attempt from beginning; see `set_frozen`."""
        self._context = context
        self._in_flight = context.in_flight
        self._concurrency = concurrency
        self._backlog = Backlog()
        self._breaker = CircuitBreaker(
            name, policy, emit=context.emit, on_change=self._on_breaker_change
        )
        self._runner = AttemptRunner(context, completer, self._breaker, policy)
        self._claimed: deque[Attempt] = deque()
        """Attempts in flight that have not started."""
        self._under_way: dict[UUID, Delivery] = {}
        """The delivery of each attempt that has started, by run id."""
        self._superseding: dict[UUID, Attempt] = {}
        """Attempts that start once the one before them has ended, by run id."""
        self._cancelled: set[asyncio.Task[None]] = set()
        """Workers cancelled for the sake of one attempt; they go on after it."""
        self._workers: dict[int, asyncio.Task[None]] = {}
        self._idle: deque[asyncio.Future[None]] = deque()
        self._background: set[asyncio.Task[None]] = set()
        self._aborting = False
        for number in range(concurrency):
            self._start_worker(number)

    @property
    def policy(self) -> RetryPolicy:
        """The target's retry policy."""
        return self._runner.policy

    # Due entries.

    @property
    def due(self) -> int:
        """Entries that are due and not claimed yet."""
        return len(self._backlog)

    @property
    def is_full(self) -> bool:
        """Whether the backlog in memory is full; further entries stay in the database."""
        return self._backlog.is_full(paused=self.is_paused or self.is_frozen)

    @property
    def is_paused(self) -> bool:
        """Whether the circuit breaker keeps attempts from starting, but for a probe."""
        return not self._breaker.is_closed

    @property
    def breaker(self) -> CircuitBreaker:
        """The target's circuit breaker."""
        return self._breaker

    def enqueue(self, entries: Sequence[DueEntry]) -> list[DueEntry]:
        """Add due entries to the backlog; return those for which there is no room."""
        waits = self.is_paused or self.is_frozen
        return self._backlog.push(entries, self._context.turn.now(), paused=waits)

    @property
    def room(self) -> int:
        """How many more runs to claim for this target."""
        if self.is_frozen:
            return 0
        if not self._breaker.is_closed:
            has_probe = self._claimed or self.claiming
            return 1 if self._breaker.may_start and not has_probe else 0
        capacity = self._concurrency + self._claimed_in_advance
        used = self._in_flight.count(self.name) + self.claiming
        # A claim costs much the same for few runs as for many. So while every worker is busy, the
        # pool waits until a claim is worth its cost.
        return capacity - used if used < self._concurrency or 4 * used <= 3 * capacity else 0

    @property
    def _claimed_in_advance(self) -> int:
        """Maximum runs claimed beside those under way."""
        batch = self._context.batch
        if not self.target.waits:
            # One batch being claimed, one under way, two being finished.
            return 4 * batch
        # No other node can execute a claimed run, so a slow target gets few in advance.
        average = self._runner.average_seconds
        if average is None:
            return 0
        return min(int(self._concurrency * ADVANCE_S / max(average, 0.001)), 2 * batch)

    def pop(self, count: int) -> list[DueEntry]:
        """Remove and return the oldest entries of the backlog, to be claimed."""
        entries: list[DueEntry] = []
        # The probe is a run without an attempt where there is one, so that no run loses its last.
        if self.is_paused and count == 1 and (first := self._backlog.pop_first_attempt()):
            entries.append(first)
        else:
            entries = self._backlog.pop(count)
        self.claiming += len(entries)
        return entries

    # Attempts.

    def dispatch(self, attempts: Sequence[Attempt]) -> None:
        """Queue claimed attempts for the next free workers."""
        self._in_flight.add(attempts)
        self._claimed.extend(attempts)
        self._wake_workers(math.ceil(len(attempts) / self.target.batch_size))

    def supersede(self, earlier: Attempt, attempt: Attempt) -> None:
        """Cancel an earlier attempt of a run; queue the later one for when it has ended."""
        self.cancel(earlier)
        if attempt.run_id in self._under_way:
            self._in_flight.add([attempt])
            self._superseding[attempt.run_id] = attempt
        else:
            self.dispatch([attempt])

    def set_frozen(self, is_frozen: bool) -> None:
        """Begin no attempt any more, or begin again; attempts under way go on."""
        self.is_frozen = is_frozen
        if not is_frozen:
            self.resume()

    def resume(self) -> None:
        """Let claimed attempts start again."""
        self._wake_workers(len(self._claimed))

    def drain_not_started(self, keys: Collection[AttemptKey] | None = None) -> list[Attempt]:
        """Remove and return attempts that have not started: all of them, or those with ``keys``."""
        drained: list[Attempt] = []
        kept: deque[Attempt] = deque()
        for attempt in (*self._claimed, *self._superseding.values()):
            (drained if keys is None or attempt.key in keys else kept).append(attempt)
        self._claimed = deque(each for each in kept if each.run_id not in self._superseding)
        for attempt in drained:
            self._superseding.pop(attempt.run_id, None)
        self._in_flight.remove(drained)
        if drained:
            self._context.claims_wanted.set()
        return drained

    def apply_policy(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """Return what the target's retry policy makes of an outcome that came from outside."""
        return self._runner.apply_policy(attempt, outcome)

    def cancel(self, attempt: Attempt) -> None:
        """End an attempt whose run was stopped, and notify the target of it."""
        if attempt not in self._in_flight:
            return
        if attempt in self._claimed:
            self._claimed.remove(attempt)
            self._on_cancelled(attempt)
        elif self._superseding.get(attempt.run_id) is attempt:
            del self._superseding[attempt.run_id]
            self._on_cancelled(attempt)
        elif (delivery := self._under_way.get(attempt.run_id)) is not None:
            if delivery.attempts == [attempt]:
                self._cancelled.add(delivery.worker)
                delivery.worker.cancel()
            elif attempt in delivery.attempts:  # the others of its batch go on
                delivery.attempts.remove(attempt)
                self._on_cancelled(attempt, delivery.target)

    def replace(self, target: Target, policy: RetryPolicy, concurrency: int) -> None:
        """Deliver to another target from now on; attempts under way end with the former one."""
        former, self.target = self.target, target
        self._runner.policy = policy
        self._runner.average_seconds = None
        self._concurrency = concurrency
        self._close_unused(former)
        self._breaker.replace_policy(policy)
        for number in range(concurrency):
            self._start_worker(number)
        self._wake_workers(len(self._idle))

    async def abort(self) -> None:
        """Cancel every worker."""
        self._aborting = True
        self._breaker.cancel_timer()
        for worker in self._workers.values():
            worker.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)
        self._workers.clear()

    async def close(self) -> None:
        """Close the target, after ``abort``."""
        self._close_unused(self.target)
        if self._background:
            await asyncio.wait(set(self._background), timeout=2)

    # Workers.

    def _start_worker(self, number: int) -> None:
        worker = self._workers.get(number)
        if worker is None or worker.done():
            self._workers[number] = asyncio.create_task(
                self._run_worker(number), name=f"target {self.name} {number}"
            )

    async def _run_worker(self, number: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        turn, node = self._context.turn, self._context.node
        while number < self._concurrency:
            if self.is_frozen or not (
                self._claimed and self._breaker.may_start and node.holds_lease()
            ):
                await self._until_woken()
            elif turn.elapsed_seconds() > YIELD_AFTER_S:
                await asyncio.sleep(0)
            else:
                await self._deliver(Delivery(task, self.target, self._pop_batch()))

    async def _deliver(self, delivery: Delivery) -> None:
        """Carry out a batch, and let attempts start that waited for its end."""
        attempts = list(delivery.attempts)
        self._under_way.update(dict.fromkeys([each.run_id for each in attempts], delivery))
        try:
            not_started = await self._runner.run(delivery)
        except asyncio.CancelledError:
            if self._aborting or delivery.worker not in self._cancelled:
                raise  # the worker itself was cancelled
            self._cancelled.discard(delivery.worker)
            delivery.worker.uncancel()
            for attempt in delivery.attempts:
                self._on_cancelled(attempt, delivery.target)
        else:
            again = [attempt for attempt in not_started if attempt in self._in_flight]
            self._claimed.extendleft(reversed(again))
        finally:
            for attempt in attempts:
                if self._under_way.get(attempt.run_id) is delivery:
                    del self._under_way[attempt.run_id]
        if self._superseding:
            for attempt in attempts:
                self._dispatch_successor(attempt)
        if delivery.target is not self.target:
            self._close_unused(delivery.target)

    def _pop_batch(self) -> list[Attempt]:
        """Remove and return what to deliver next: the probe, or up to a batch of the target."""
        if not self._breaker.is_closed:
            return [self._pop_probe()]
        size = min(self.target.batch_size, len(self._claimed))
        return [self._claimed.popleft() for _ in range(size)]

    def _dispatch_successor(self, ended: Attempt) -> None:
        """Let the attempt that waited for the end of this one start."""
        successor = self._superseding.pop(ended.run_id, None)
        if successor is not None:
            self._claimed.append(successor)
            self._wake_workers(1)

    def _pop_probe(self) -> Attempt:
        """Remove and return the run with the most attempts left."""
        probe = min(self._claimed, key=lambda attempt: attempt.number - attempt.takeovers)
        self._claimed.remove(probe)
        return probe

    async def _until_woken(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._idle.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self._wake_workers(1)  # pass on the wake-up that this worker may have received
            raise

    def _wake_workers(self, count: int) -> None:
        while count > 0 and self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def _on_breaker_change(self) -> None:
        self._wake_workers(len(self._claimed))
        self._context.claims_wanted.set()

    def _on_cancelled(self, attempt: Attempt, target: Target | None = None) -> None:
        """Log a cancelled attempt and notify the target that was asked to carry it out."""
        self._in_flight.remove([attempt])
        self._context.emit("attempt_cancelled", **attempt.log_fields())
        if target is not None:
            self._run_in_background(target.cancel(attempt))
        self._context.claims_wanted.set()

    def _close_unused(self, target: Target) -> None:
        if all(delivery.target is not target for delivery in self._under_way.values()):
            self._run_in_background(target.close())

    def _run_in_background(self, call: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                await call
            except Exception as error:
                self._context.emit(
                    "target_error", target=self.name, error=f"{type(error).__name__}: {error}"
                )

        task = asyncio.create_task(run(), name=f"target {self.name} in background")
        self._background.add(task)
        task.add_done_callback(self._background.discard)
