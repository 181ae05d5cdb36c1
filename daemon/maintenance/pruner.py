"""Retention: deletes history older than the configured limit, periodically and in small steps."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.domain.read_models import PruneStats
from daemon.runtime.service import Service

FIRST_S = 60.0
"""Seconds to the first pruning: soon, so that a node that restarts often prunes too."""
EVERY_S = 3600.0
PAUSE_S = 0.05
"""Seconds between two transactions, so that pruning does not disturb firing."""


class Pruner(Service):
    """Prunes periodically while a limit is set; of several nodes one prunes at a time.

    Args:
        steps: deletes older history; yields the statistics of each transaction.
        keep: how long history is kept; None: without a limit.
        first: seconds from the start to the first pruning, varied by half, so that nodes that start
            together do not prune together.
        every: seconds between prunings.
    """

    name = "pruner"

    def __init__(
        self,
        steps: Callable[[timedelta], AsyncIterator[PruneStats]],
        keep: Callable[[], timedelta | None],
        *,
        emit: Emit,
        first: float = FIRST_S,
        every: float = EVERY_S,
    ) -> None:
        super().__init__()
        self._steps = steps
        self._keep = keep
        self._emit = emit
        self._first = first
        self._every = every

    async def run(self) -> None:
        """Prune until asked to stop."""
        wait = self._first * random.uniform(0.5, 1.5)
        while not await self.pause(wait):
            wait = self._every
            if (keep := self._keep()) is None:
                continue
            with suppress(Unavailable):  # services that fire log the outage
                await self._prune(keep)

    async def _prune(self, keep: timedelta) -> None:
        runs = events = 0
        async for done in self._steps(keep):
            runs, events = runs + done.runs, events + done.events
            if await self.pause(PAUSE_S):
                break
        if runs or events:
            self._emit("history_pruned", runs=runs, events=events, keep_days=keep.days)
