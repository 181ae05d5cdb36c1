"""One target's lane: what is due for it, what is in its hands, and the workers that deliver."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection
from datetime import datetime

from daemon.domain.ports import Clock, Emit
from daemon.domain.run.attempt import ArmedEvent, Attempt, PendingRun
from daemon.domain.run.outcome import Missed, Outcome, OutcomeUnknown, Reject, Retry, normalize
from daemon.domain.run.retry import RetryPolicy, apply_retry_policy
from daemon.domain.run.target import Target
from daemon.pipeline.backlog import Backlog
from daemon.pipeline.circuit_breaker import CircuitBreaker

BUSY_S = 0.002
"""Workers whose target never waits let the event loop go on after so long."""
AHEAD_S = 0.5
"""For a target that waits for somebody, as many runs are claimed ahead as it begins in so long."""
TOO_LATE = "the next attempt would start later than misfire_grace_time"

Finished = Callable[["TargetPool", Attempt, Outcome, float, datetime | None], None]
Key = tuple[int, datetime]


def key_of(work: Attempt) -> Key:
    """What identifies a run in memory."""
    return work.campaign_id, work.scheduled_for


def _nothing(*_args: object, **_fields: object) -> None:
    pass


class TargetPool:
    """A target with a bound on what it may have in hand, so that it can not delay another's runs.

    Args:
        name: the target's name.
        target: where runs are handed to.
        policy: how often an attempt is repeated, and when the target pauses.
        concurrency: attempts under way at once.
        batch: the most that one statement claims.
        clock: for durations.
        finished: told of every outcome, with the attempt's duration in seconds and when it began,
            by the database's clock as far as known; None if it did not.
        database_now: what the database's clock shows; without it no attempt is too late.
        emit: told of pauses and stopped attempts.
        room_freed: told when more may be claimed although nothing was finished.
        may_begin: whether this node's lease holds; without it another may have taken the run.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        *,
        policy: RetryPolicy,
        concurrency: int,
        batch: int,
        clock: Clock,
        finished: Finished,
        database_now: Callable[[], datetime] | None = None,
        emit: Emit = _nothing,
        room_freed: Callable[[], None] = _nothing,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self.target = target
        self.due = Backlog()
        self.in_flight: dict[Key, Attempt] = {}
        self.claiming = 0
        """Entries that were taken out of what is due, until it is known whether they were won."""
        self.policy = policy
        self._concurrency = concurrency
        self._batch = batch
        self._attempt_s: float | None = None
        self._clock = clock
        self._finished = finished
        self._database_now = database_now
        self._emit = emit
        self._room_freed = room_freed
        self._may_begin = may_begin
        self._breaker = CircuitBreaker(policy)
        self._pause: asyncio.TimerHandle | None = None
        self._ready: deque[Attempt] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._begun: dict[Key, Attempt] = {}
        self._under_way: dict[Key, tuple[asyncio.Task[None], Target]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        """Workers that were cancelled for the attempt they make, and go on after it."""
        self._workers: dict[int, asyncio.Task[None]] = {}
        self._turn_began: float | None = None
        self._turn_now: datetime | None = None
        self._aside: set[asyncio.Task[None]] = set()
        self._aborting = False

    # What is due.

    @property
    def room(self) -> int:
        """How many more runs may be claimed for this target."""
        if self._breaker.paused:
            has_probe = self._ready or self.claiming
            return 1 if self._breaker.may_probe and not has_probe else 0
        capacity = self._concurrency + self._ahead
        used = len(self.in_flight) + self.claiming
        # A claim costs much the same for few as for many: while nobody idles it waits until it is
        # worth it.
        return capacity - used if used < self._concurrency or 4 * used <= 3 * capacity else 0

    @property
    def _ahead(self) -> int:
        """Runs to claim beside those under way."""
        if not self.target.waits:
            # A batch being claimed, one under way and two being finished; and no more.
            return 4 * self._batch
        # What is claimed ahead of its turn, no other node can take.
        if self._attempt_s is None:
            return 0
        soon = int(self._concurrency * AHEAD_S / max(self._attempt_s, 0.001))
        return min(soon, 2 * self._batch)

    @property
    def is_full(self) -> bool:
        """Whether as much is overdue as is kept in memory; the rest stays in the database."""
        return self.due.is_full(paused=self._breaker.paused)

    @property
    def is_paused(self) -> bool:
        """Whether the target failed so often that it is left alone for a while."""
        return self._breaker.paused

    def add(self, entry: ArmedEvent | PendingRun) -> bool:
        """Take an entry that is due; False if too many wait already."""
        self._begin_turn()
        return self.due.add(entry, self._turn_now, paused=self._breaker.paused)

    def take(self, count: int) -> list[ArmedEvent | PendingRun]:
        """The oldest entries, out of what is due and into ``claiming``."""
        taken: list[ArmedEvent | PendingRun] = []
        # The probe: if possible a run not tried yet, so that none runs out of attempts.
        if self._breaker.paused and count == 1 and (untried := self.due.take_untried()) is not None:
            taken.append(untried)
        else:
            taken = self.due.take(count)
        self.claiming += len(taken)
        return taken

    # What is in hand.

    def start(self) -> None:
        """Begin to hand over."""
        self._aborting = False
        self._ending.clear()
        for number in range(self._concurrency):
            if number not in self._workers or self._workers[number].done():
                self._workers[number] = asyncio.create_task(
                    self._work(number), name=f"target {self.name} {number}"
                )

    def dispatch(self, work: Attempt) -> None:
        """Queue a claimed run for its attempt."""
        self.in_flight[key_of(work)] = work
        self._ready.append(work)
        self._wake(1)

    def forget(self, work: Attempt) -> None:
        """Its outcome is written, or it is somebody else's now."""
        key = key_of(work)
        if self.in_flight.get(key) is work:
            del self.in_flight[key]
        if self._begun.get(key) is work:
            del self._begun[key]

    def has_started(self, work: Attempt) -> bool:
        """Whether the target was asked for this attempt."""
        return self._begun.get(key_of(work)) is work

    def resume(self) -> None:
        """Attempts may begin again."""
        self._wake(len(self._ready))

    def drain_not_started(self, of: Collection[Key] | None = None) -> list[Attempt]:
        """Out of hand: what the target was not asked for yet; of all runs, or of these."""
        not_started: list[Attempt] = []
        rest: deque[Attempt] = deque()
        for work in self._ready:
            (not_started if of is None or key_of(work) in of else rest).append(work)
        self._ready = rest
        for work in not_started:
            self.forget(work)
        if not_started:
            self._room_freed()
        return not_started

    def cancel(self, work: Attempt) -> None:
        """The run was stopped: its attempt ends here, and the target is told if it wants to be."""
        if self.in_flight.get(key_of(work)) is not work:
            return
        if work in self._ready:
            self._ready.remove(work)
            self._stopped(work)
        elif (under_way := self._under_way.get(key_of(work))) is not None:
            self._ending.add(under_way[0])
            under_way[0].cancel()

    def replace(self, target: Target, policy: RetryPolicy, concurrency: int) -> None:
        """Another target under this name; the attempts under way end with the former one."""
        former, self.target = self.target, target
        self.policy = policy
        self._concurrency = concurrency
        self._attempt_s = None
        self._close_unused(former)
        was_paused = self._breaker.paused
        self._breaker.replaced(policy)
        if was_paused:
            self._pause_ended()
        if self._workers:
            self.start()
            self._wake(len(self._idle))

    async def abort(self) -> None:
        """Stop handing over, at once."""
        self._aborting = True
        if self._pause is not None:
            self._pause.cancel()
        for worker in self._workers.values():
            worker.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)
        self._workers.clear()

    async def close(self) -> None:
        """Let the target go, after ``abort``."""
        self._close_unused(self.target)
        if self._aside:
            await asyncio.wait(set(self._aside), timeout=2)

    async def _work(self, number: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        while number < self._concurrency:
            work = None
            try:
                if not (self._ready and self._breaker.may_start and self._may_begin()):
                    await self._something_to_do()
                    continue
                if self._turn_is_over():
                    await asyncio.sleep(0)
                    continue
                work = self._next()
                await self._attempt(work, task)
            except asyncio.CancelledError:
                if self._aborting or task not in self._ending:
                    raise  # not one attempt's end but ours
                self._ending.discard(task)
                task.uncancel()
                if work is not None and key_of(work) in self._under_way:
                    _, target = self._under_way.pop(key_of(work))
                    self._stopped(work, target)

    def _turn_is_over(self) -> bool:
        """Whether the workers together have held the event loop for long enough."""
        return self._clock.monotonic() - self._begin_turn() > BUSY_S

    def _begin_turn(self) -> float:
        """When this turn of the event loop began, or for what follows does now."""
        if self._turn_began is None:
            self._turn_began = self._clock.monotonic()
            self._turn_now = self._database_now() if self._database_now is not None else None
            asyncio.get_running_loop().call_soon(self._end_turn)
        return self._turn_began

    def _end_turn(self) -> None:
        self._turn_began = None

    def _next(self) -> Attempt:
        if not self._breaker.paused:
            return self._ready.popleft()
        # The probe: a run that has attempts to lose.
        probe = min(self._ready, key=lambda work: work.attempt - work.takeovers)
        self._ready.remove(probe)
        return probe

    async def _something_to_do(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._idle.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self._wake(1)  # whatever this worker was woken for
            raise

    def _wake(self, count: int) -> None:
        while count > 0 and self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    async def _attempt(self, work: Attempt, task: asyncio.Task[None]) -> None:
        began = self._clock.monotonic()
        if self._turn_now is not None and work.start_before < self._turn_now:
            outcome = Missed() if work.attempt == 1 else Reject(TOO_LATE)
            self._finished(self, work, outcome, 0.0, None)
            return
        at = self._turn_now
        key, target = key_of(work), self.target
        was_probe = self._breaker.paused
        self._breaker.begin()
        self._begun[key] = work
        self._under_way[key] = task, target
        raw: Outcome
        try:
            raw = await target.deliver(work)
        except Exception as error:
            raw = OutcomeUnknown(f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            if was_probe:
                self._breaker.pause_is_over()
            raise
        raw = normalize(raw)
        del self._under_way[key]
        took = self._clock.monotonic() - began
        self._note(raw, was_probe, took)
        self._finished(self, work, self.judge(work, raw), took, at)
        if target is not self.target:
            self._close_unused(target)

    def judge(self, work: Attempt, outcome: Outcome) -> Outcome:
        """What an outcome comes to by this target's policy."""
        return apply_retry_policy(self.policy, work.attempt, work.takeovers, outcome, random.random)

    def _note(self, outcome: Outcome, was_probe: bool, took: float) -> None:
        if not isinstance(outcome, Retry | OutcomeUnknown):
            # A target that is down refuses faster than it ever worked: that makes no room.
            former = took if self._attempt_s is None else self._attempt_s
            self._attempt_s = 0.9 * former + 0.1 * took
            if self._breaker.succeeded():
                self._pause_ended()
            return
        pause = self._breaker.failed(was_probe=was_probe)
        if pause is None:
            return
        self._emit("target_paused", target=self.name, pause_s=round(pause, 3), error=outcome.reason)
        self._pause = asyncio.get_running_loop().call_later(pause, self._probe)

    def _pause_ended(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if not self._breaker.paused:
            self._emit("target_resumed", target=self.name)
        self._wake(len(self._ready))
        self._room_freed()

    def _probe(self) -> None:
        self._breaker.pause_is_over()
        self._wake(1)
        self._room_freed()

    def _stopped(self, work: Attempt, target: Target | None = None) -> None:
        self.forget(work)
        self._emit(
            "attempt_cancelled",
            campaign_id=work.campaign_id,
            campaign_uuid=work.campaign_uuid,
            run_id=work.run_id,
            scheduled_for=work.scheduled_for,
            attempt=work.attempt,
            target=work.target,
        )
        if target is not None:
            self._set_aside(target.cancel(work))
        self._room_freed()

    def _close_unused(self, target: Target) -> None:
        if any(used is target for _, used in self._under_way.values()):
            return
        self._set_aside(target.close())

    def _set_aside(self, coroutine: object) -> None:
        async def finish() -> None:
            try:
                await coroutine  # type: ignore[misc]
            except Exception as error:
                self._emit(
                    "target_error", target=self.name, error=f"{type(error).__name__}: {error}"
                )

        task = asyncio.create_task(finish(), name=f"target {self.name} aside")
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)
