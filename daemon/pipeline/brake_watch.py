"""Obeys freezes: what this node has claimed and not begun of a frozen target is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from daemon.domain.brakes import NO_BRAKES, Brake, Brakes, Overdue
from daemon.pipeline.context import PipelineContext
from daemon.pipeline.plan_cache import PlanCache
from daemon.pipeline.target_pools import TargetPools
from daemon.pipeline.unstarted import UnstartedRuns
from daemon.runtime.polling_service import PollingService

FROZEN_POLL_S = 0.25
"""Seconds between looks for runs to give back, while something is frozen."""


class EndedFreeze(Protocol):
    """A freeze that ended by itself."""

    @property
    def scope(self) -> str:
        """What was frozen."""
        ...

    @property
    def overdue(self) -> Overdue:
        """What becomes of the occurrences that came due meanwhile."""
        ...


class BrakeReader(Protocol):
    """The brakes of the database."""

    async def read(self) -> Brakes:
        """Return all brakes."""
        ...

    async def thaw_ended(self) -> Sequence[EndedFreeze]:
        """End the freezes whose time is over."""
        ...


class BrakeWatch(PollingService):
    """Reads the brakes when they have changed, and stops and starts the pools of their targets.

    The claim statements read the brakes themselves: from a freeze's commit on, no node claims. This
    service takes care of what was claimed before.

    Args:
        store: the brakes of the database.
        context: what the stages of the pipeline share.
        pools: the targets' pools.
        plans: plans the claims of what came due during a freeze.
    """

    name = "brake_watch"

    def __init__(
        self,
        store: BrakeReader,
        context: PipelineContext,
        pools: TargetPools,
        plans: PlanCache,
    ) -> None:
        super().__init__(context.health, every=None)
        self._store = store
        self._context = context
        self._pools = pools
        self._plans = plans
        self._seen: datetime | None = None
        self._unstarted = UnstartedRuns(context, cause="frozen")
        self._lock = asyncio.Lock()
        self.current = NO_BRAKES
        """The brakes as this node knows them."""

    def notice(self, changed_at: datetime | None) -> None:
        """Note when the brakes were changed last. Never blocks."""
        self._seen = changed_at
        if changed_at != self.current.changed_at:
            self.wake()

    async def obey(self, changed_at: datetime | None) -> None:
        """Read the brakes if they have changed, and give back what may not begin.

        Raises:
            Unavailable: the database does not answer.
        """
        async with self._lock:
            if changed_at != self.current.changed_at:
                self._apply(await self._store.read())
            await self._give_back()

    def idle_seconds(self) -> float | None:
        """Return the seconds until the next look."""
        return FROZEN_POLL_S if self.current.frozen or self._unstarted else None

    async def run_once(self) -> None:
        """Look once. Raises Unavailable."""
        now = self._context.database_clock.now()
        if any(each.thaw_at is not None and each.thaw_at <= now for each in self.current.frozen):
            await self._store.thaw_ended()
            self._apply(await self._store.read())
        await self.obey(self._seen)

    def _apply(self, brakes: Brakes) -> None:
        """Stop the pools of frozen targets, start the others, and log what has changed."""
        former, self.current = self.current, brakes
        self._seen = brakes.changed_at
        self._plans.brakes = brakes
        self._pools.brakes = brakes
        for pool in self._pools:
            pool.set_frozen(brakes.freeze_of(pool.name) is not None)
        before = {each.scope: each for each in former.frozen}
        after = {each.scope: each for each in brakes.frozen}
        for scope in before.keys() - after.keys():
            self._log_thaw(scope, next(each for each in brakes.brakes if each.scope == scope))
        for scope, brake in after.items():
            if before.get(scope) is None or before[scope].frozen_at != brake.frozen_at:
                self._log_freeze(brake)
        self._context.claims_wanted.set()

    def _log_freeze(self, brake: Brake) -> None:
        self._context.emit(
            "frozen",
            scope=brake.scope,
            by=brake.frozen_by,
            until=brake.thaw_at,
            note=brake.note,
            took_ms=self._milliseconds_since(brake.changed_at),
        )

    def _log_thaw(self, scope: str, brake: Brake) -> None:
        self._context.emit(
            "thawed",
            scope=scope,
            overdue=None if brake.mark is None else brake.mark.cause,
            took_ms=self._milliseconds_since(brake.changed_at),
        )

    def _milliseconds_since(self, at: datetime) -> float:
        took: timedelta = self._context.database_clock.now() - at
        return round(max(0.0, took.total_seconds()) * 1000, 3)

    async def _give_back(self) -> None:
        """Release what was claimed and not begun; no attempt is counted."""
        for pool in self._pools:
            if pool.is_frozen:
                self._unstarted.add(pool.drain_not_started())
        await self._unstarted.release()
