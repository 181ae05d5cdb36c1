"""The pipeline: claim -> dispatch -> finish, and how it is drained.

The way of one run, in the order of the calls:

1. The timer passes an event to `Claimer` when the trigger of its schedule fires.
2. `Claimer` adds the event to the backlog of its target's `TargetPool`, takes as much from the
   backlogs as the pools have room for, and claims that batch in one statement.
3. It dispatches every attempt that was won to its pool, and settles the batch with the timer.
4. A worker of the pool runs the attempt by its `AttemptRunner`: deliver, normalise, retry policy.
5. `Completer` writes the outcomes that gathered in one statement, logs them, and reports them to
   the timer, which loads what they made due.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from daemon.domain.errors import Unavailable
from daemon.domain.run.attempt import Attempt, WorkerResult
from daemon.domain.run.log_events import emit_held
from daemon.pipeline.claim_reconciler import ClaimReconciler
from daemon.pipeline.claimer import Claimer
from daemon.pipeline.completer import Completer
from daemon.pipeline.context import PipelineContext
from daemon.pipeline.plan_cache import PlanCache
from daemon.pipeline.target_pools import TargetConfiguration, TargetPools

if TYPE_CHECKING:
    from daemon.domain.run.in_flight import InFlight

RELEASE_TIMEOUT_S = 2.0
"""Seconds a stopping node waits for the database; leases of unreleased runs end by themselves."""

WRITE_S = 1.0
"""Minimum seconds to write the outcomes of attempts that ended just in time."""


class Pipeline:
    """The claimer, the pools and the completer of this node.

    Args:
        context: what the stages share.
        targets: target, retry policy and concurrency by name.
    """

    def __init__(
        self, context: PipelineContext, targets: Mapping[str, TargetConfiguration]
    ) -> None:
        self._context = context
        self.completer = Completer(context)
        self.pools = TargetPools(context, self.completer)
        self.plans = PlanCache()
        self.claimer = Claimer(
            context, self.pools, self.completer, self.plans, ClaimReconciler(context)
        )
        self.pools.configure(targets)

    def complete_external(self, result: WorkerResult) -> None:
        """Write what a worker answered, after the retry policy of its target."""
        attempt = result.attempt
        outcome = self.pools.of(attempt.target).apply_policy(attempt, result.outcome)
        self.completer.complete_external(attempt, outcome, result.worker, result.seconds)

    @property
    def in_flight(self) -> InFlight:
        """The attempts claimed by this node whose outcome is not written yet."""
        return self._context.in_flight

    @property
    def due(self) -> int:
        """Entries that are due on this node and not claimed yet."""
        return self.claimer.due + sum(pool.due for pool in self.pools)

    def resume(self) -> None:
        """Let claimed attempts start again: this node holds its lease again."""
        for pool in self.pools:
            pool.resume()

    def abandon(self) -> None:
        """Drop every claimed run that this node has not started: another node has replaced it."""
        count = sum(len(pool.drain_not_started()) for pool in self.pools)
        if count:
            self._context.emit("runs_abandoned", count=count)

    async def start(self) -> None:
        """Start to complete, then to claim."""
        await self.completer.start()
        await self.claimer.start()

    async def drain(self, grace: float) -> None:
        """Claim nothing more, wait up to ``grace`` seconds for attempts, release the rest.

        A released run is due at once for any node, with no attempt counted, or it is held for an
        operator.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + grace
        with contextlib.suppress(Exception):
            # If the claimer died, the supervisor has logged why; attempts still have to end.
            await self.claimer.stop()
        # Attempts that a paused target, a freeze or a lost lease keeps back are not waited for.
        not_started = [
            attempt
            for pool in self.pools
            if pool.is_paused or pool.is_frozen or not self._context.node.holds_lease()
            for attempt in pool.drain_not_started()
        ]
        await self._release(not_started, ["not_started"] * len(not_started))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(ends_at):
                while self.in_flight:
                    await self.completer.wait_written()
        for pool in self.pools:
            await pool.abort()
        await self.completer.stop(max(WRITE_S, ends_at - loop.time()))
        left = list(self.in_flight)
        await self._release(left, [self._disposition_of(attempt) for attempt in left])
        for pool in self.pools:
            await pool.close()

    async def _release(self, attempts: Sequence[Attempt], dispositions: Sequence[str]) -> None:
        if not attempts:
            return
        with contextlib.suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                emit_held(
                    self._context.emit, await self._context.store.release(attempts, dispositions)
                )
        if released := len(attempts) - dispositions.count("held"):
            self._context.emit("runs_released", count=released)

    def _disposition_of(self, attempt: Attempt) -> str:
        """Return what becomes of a run that a stopping node has in flight."""
        if not self.in_flight.has_started(attempt):
            return "not_started"
        return "held" if self.pools.of(attempt.target).policy.holds else "retrying"
