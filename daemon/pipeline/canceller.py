"""Ends the attempts of runs that were stopped, and starts none of campaigns that were paused."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.run.attempt import Attempt, AttemptKey
from daemon.pipeline.context import PipelineContext
from daemon.pipeline.store import RunStatusStore
from daemon.pipeline.target_pools import TargetPools
from daemon.pipeline.unstarted import UnstartedRuns
from daemon.runtime.polling_service import PollingService


class RunCanceller(PollingService):
    """Checks the attempts in flight of edited campaigns, and those that are in flight for long.

    News of an edit is a hint; a check every ``every`` seconds is the guarantee. An answer that
    comes after the run was stopped is refused when it is written.

    Args:
        statuses: reads the present status of runs.
        context: what the stages of the pipeline share.
        pools: the targets' pools.
        every: seconds between checks of what was in flight at the check before.
    """

    name = "run_canceller"

    def __init__(
        self,
        statuses: RunStatusStore,
        context: PipelineContext,
        pools: TargetPools,
        *,
        every: float,
    ) -> None:
        super().__init__(context.health, every)
        self._statuses = statuses
        self._context = context
        self._pools = pools
        self._period = every
        self._checked_at = context.clock.monotonic()
        self._edited: set[int] = set()
        self._seen: set[AttemptKey] = set()
        """In flight at the last periodic check."""
        self._unstarted = UnstartedRuns(context, cause="the campaign was paused")

    def campaigns_edited(self, campaign_ids: Iterable[int]) -> None:
        """Check the attempts of these campaigns. Never blocks."""
        self._edited.update(campaign_ids)
        self.wake()

    def idle_seconds(self) -> float:
        """Return the seconds until the next periodic check."""
        return max(0.0, self._checked_at + self._period - self._context.clock.monotonic())

    async def run_once(self) -> None:
        """Check once. Raises Unavailable."""
        edited, self._edited = self._edited, set()
        try:
            if attempts := self._to_check(edited):
                found = await self._statuses.statuses(attempts)
                self._cancel_stopped(attempts, found)
                self._drain_paused(attempts, found)
            await self._unstarted.release()
        except BaseException:
            self._edited |= edited
            raise

    def _to_check(self, edited: Collection[int]) -> list[Attempt]:
        """Return attempts of edited campaigns, and periodically those seen at the last check."""
        seen: Collection[AttemptKey] = ()
        if self.idle_seconds() == 0:
            self._checked_at = self._context.clock.monotonic()
            seen, self._seen = self._seen, self._context.in_flight.keys()
        if not edited and not seen:
            return []
        return [
            attempt
            for attempt in self._context.in_flight
            if attempt.key in seen or attempt.campaign_id in edited
        ]

    def _cancel_stopped(
        self, attempts: Iterable[Attempt], found: Mapping[AttemptKey, tuple[str, int, str]]
    ) -> None:
        for attempt in attempts:
            status, number, _ = found.get(attempt.key, (None, 0, None))
            if (status, number) != (RunStatus.EXECUTING, attempt.number):
                self._pools.of(attempt.target).cancel(attempt)

    def _drain_paused(
        self, attempts: Iterable[Attempt], found: Mapping[AttemptKey, tuple[str, int, str]]
    ) -> None:
        paused: dict[str, set[AttemptKey]] = {}
        for attempt in attempts:
            if found.get(attempt.key, ("", 0, ""))[2] == Status.PAUSED:
                paused.setdefault(attempt.target, set()).add(attempt.key)
        for target, keys in paused.items():
            self._unstarted.add(self._pools.of(target).drain_not_started(keys))
