"""Gives back runs that were claimed and may not begin: paused with their campaign, or frozen."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.run.attempt import Attempt, AttemptKey
from daemon.pipeline.context import PipelineContext


class UnstartedRuns:
    """Attempts that were drained from their pool, and are not released in the database yet.

    Args:
        context: what the stages of the pipeline share.
        cause: why, for the history of their campaigns.
    """

    def __init__(self, context: PipelineContext, cause: str) -> None:
        self._context = context
        self._cause = cause
        self._attempts: list[Attempt] = []

    def __len__(self) -> int:
        return len(self._attempts)

    def add(self, attempts: Iterable[Attempt]) -> None:
        """Add attempts that their pool does not have any more."""
        self._attempts += attempts

    async def release(self) -> None:
        """Release them, so that they are due again; no attempt is counted.

        Those that another session has locked are kept for the next call. Raises Unavailable.
        """
        if not self._attempts:
            return
        attempts = list(self._attempts)
        store = self._context.store
        released = await store.release(attempts, ["not_started"] * len(attempts), self._cause)
        blocked: Collection[AttemptKey] = ()
        if len(released) < len(attempts):
            blocked = await store.find_blocked([(each, RunStatus.EXECUTING) for each in attempts])
        del self._attempts[: len(attempts)]
        self._attempts += [attempt for attempt in attempts if attempt.key in blocked]
        if released:
            self._context.emit("runs_released", count=len(released), level="info")
