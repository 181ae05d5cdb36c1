"""The pipeline as one thing: due entries in, finished runs out; and how it is drained."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Clock, Emit
from daemon.domain.run.attempt import ArmedEvent, Attempt, FinishResult, PendingRun
from daemon.domain.run.log_events import emit_held
from daemon.domain.run.outcome import Outcome, Reject
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.run.target import Target
from daemon.pipeline.claim_reconciler import ClaimReconciler
from daemon.pipeline.claimer import Claimer
from daemon.pipeline.completer import Completer
from daemon.pipeline.store import PipelineStore
from daemon.pipeline.target_pool import TargetPool
from daemon.runtime.database_health import DatabaseHealth

GIVE_BACK_S = 5.0
"""How long a stopping node waits for a database that does not answer; leases end by themselves."""


class Timer(Protocol):
    """What the pipeline asks of the timer."""

    def done(self, entries: Sequence[ArmedEvent | PendingRun]) -> None:
        """These were claimed or lost."""
        ...

    def follow(self, entries: Sequence[ArmedEvent]) -> None:
        """What comes next for schedules that this node has just claimed."""
        ...

    def recheck(self, campaign_ids: Sequence[int]) -> None:
        """Load what the database says of these, in a moment."""
        ...

    def recheck_attempts(self) -> None:
        """Load the runs that wait, in a moment."""
        ...

    def database_now(self) -> datetime:
        """What the database's clock shows now, as far as known."""
        ...


class UnconfiguredTarget(Target):
    """Stands for a target that is not configured on this node."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def deliver(self, work: Attempt) -> Outcome:
        """Reject: no later attempt on this node could do better."""
        del work
        return Reject(f"target {self._name!r} is not configured")


class Pipeline:
    """Claim -> dispatch -> finish, with a lane for each target.

    Args:
        store: the claim and finish statements.
        targets: name -> (target, retry policy, attempts at once).
        timer: where due entries come from.
        batch: the most that one statement claims or finishes.
        may_begin: whether this node's lease holds, so that no other node has its runs.
    """

    def __init__(
        self,
        store: PipelineStore,
        targets: Mapping[str, tuple[Target, RetryPolicy, int]],
        *,
        timer: Timer,
        clock: Clock,
        link: DatabaseHealth,
        emit: Emit,
        batch: int,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._timer = timer
        self._clock = clock
        self._emit = emit
        self._batch = batch
        self._may_begin = may_begin
        self._lanes: dict[str, TargetPool] = {}
        self.finisher = Completer(
            store,
            clock=clock,
            link=link,
            emit=emit,
            batch=batch,
            follow=self._follow,
            room_freed=self._room_freed,
        )
        self.claimer = Claimer(
            store,
            self.lane,
            source=timer,
            settle=self.finisher.settle,
            database_now=timer.database_now,
            clock=clock,
            link=link,
            emit=emit,
            batch=batch,
            unheard=ClaimReconciler(
                store,
                lanes=lambda: self.lanes,
                database_now=timer.database_now,
                on_freed=timer.recheck_attempts,
                clock=clock,
                emit=emit,
            ),
        )
        for name, (target, policy, concurrency) in targets.items():
            self._add_lane(name, target, policy, concurrency)

    def lane(self, name: str) -> TargetPool:
        """The lane of a target; one that rejects everything if there is no such target."""
        lane = self._lanes.get(name)
        return (
            lane
            if lane is not None
            else self._add_lane(name, UnconfiguredTarget(name), RetryPolicy(), 1)
        )

    def _add_lane(
        self, name: str, target: Target, policy: RetryPolicy, concurrency: int
    ) -> TargetPool:
        lane = self._lanes[name] = TargetPool(
            name,
            target,
            policy=policy,
            concurrency=concurrency,
            batch=self._batch,
            clock=self._clock,
            finished=self.finisher.ended,
            database_now=self._timer.database_now,
            emit=self._emit,
            room_freed=self._room_freed,
            may_begin=self._may_begin,
        )
        lane.start()
        return lane

    def retarget(self, targets: Mapping[str, tuple[Target, RetryPolicy, int]]) -> None:
        """Targets as configured now; what is in hand ends as it began."""
        for name, (target, policy, concurrency) in targets.items():
            if name in self._lanes:
                self._lanes[name].replace(target, policy, concurrency)
            else:
                self._add_lane(name, target, policy, concurrency)
        for name in self._lanes.keys() - targets.keys():
            self._lanes[name].replace(UnconfiguredTarget(name), RetryPolicy(), 1)

    @property
    def lanes(self) -> list[TargetPool]:
        """Every target's lane."""
        return list(self._lanes.values())

    def hold_targets(self) -> list[str]:
        """Targets whose runs wait for a person when nobody knows what became of an attempt."""
        return [lane.name for lane in self._lanes.values() if lane.policy.holds]

    def full_targets(self) -> list[str]:
        """Targets for which as much is due as is kept in memory."""
        return [lane.name for lane in self._lanes.values() if lane.is_full]

    def take(self, entry: ArmedEvent | PendingRun) -> None:
        """An entry is due. Never blocks."""
        self.claimer.take(entry)

    def _room_freed(self) -> None:
        self.claimer.room_freed()

    def _follow(self, written: FinishResult) -> None:
        if written.promoted:
            self._timer.recheck_attempts()
        if written.campaign_id in self.claimer.backlogged:
            self.claimer.backlogged.discard(written.campaign_id)
            self._timer.recheck([written.campaign_id])

    @property
    def due(self) -> int:
        """Events that came due here and are not claimed yet."""
        return self.claimer.due + sum(len(lane.due) for lane in self._lanes.values())

    @property
    def in_flight(self) -> int:
        """Runs claimed by this node whose outcome is not written yet."""
        return sum(len(lane.in_flight) for lane in self._lanes.values())

    def oldest_claim_at(self) -> datetime | None:
        """When the longest held of them was claimed, by the database's clock."""
        oldest = [
            next(iter(lane.in_flight.values())).claimed_at
            for lane in self._lanes.values()
            if lane.in_flight
        ]
        return min(oldest, default=None)

    def resume(self) -> None:
        """The node's lease holds again: attempts that waited for it may begin."""
        for lane in self._lanes.values():
            lane.resume()

    def abandon(self) -> None:
        """The node's place was taken, its runs with it: what was not begun stays so here."""
        left = sum(len(lane.drain_not_started()) for lane in self._lanes.values())
        if left:
            self._emit("runs_abandoned", count=left)

    async def start(self) -> None:
        """Begin to finish, then to claim."""
        await self.finisher.start()
        await self.claimer.start()

    async def drain(self, grace: float) -> None:
        """Claim nothing more; wait for attempts up to ``grace`` seconds; give the rest back.

        Given back means due at once for any node, with no attempt counted; or held for a person.
        """
        with contextlib.suppress(Exception):
            # If it died, the supervisor has told why; what is in hand is still to be ended.
            await self.claimer.stop()
        # What waits for a target that is down, or for a lease that has ended, is not waited for.
        not_started = [
            work
            for lane in self._lanes.values()
            if lane.is_paused or not self._may_begin()
            for work in lane.drain_not_started()
        ]
        await self._give_back(not_started, ["not_started"] * len(not_started))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self.in_flight:
                    await self.finisher.wait_written()
        for lane in self._lanes.values():
            await lane.abort()
        await self.finisher.stop(grace)
        left = [(lane, work) for lane in self._lanes.values() for work in lane.in_flight.values()]
        await self._give_back([work for _, work in left], [_fate(*each) for each in left])
        for lane in self._lanes.values():
            await lane.close()

    async def _give_back(self, works: Sequence[Attempt], dispositions: Sequence[str]) -> None:
        if not works:
            return
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(GIVE_BACK_S):
                emit_held(self._emit, await self._store.release(works, dispositions))
        if given_back := len(works) - dispositions.count("held"):
            self._emit("runs_released", count=given_back)


def _fate(lane: TargetPool, work: Attempt) -> str:
    """What becomes of a run that a stopping node has in hand."""
    if not lane.has_started(work):
        return "not_started"
    return "held" if lane.policy.holds else "retrying"
