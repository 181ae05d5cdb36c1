"""Retention: history older than it has to be kept is deleted, now and then, a little at a time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Protocol

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.runtime.service import Service

FIRST_S = 60.0
"""Soon after the start, so that a node that is often started again prunes too."""
EVERY_S = 3600.0
BREATH_S = 0.05
"""Between two transactions, so that firing is not disturbed."""


class PruneStats(Protocol):
    """What a transaction deleted."""

    @property
    def runs(self) -> int: ...
    @property
    def events(self) -> int: ...


class Pruner(Service):
    """Prunes now and then, as long as there is a limit; of several nodes one does it at a time.

    Args:
        steps: deletes what is older, one item for each transaction.
        keep: how long history is kept; None: for ever.
        first: seconds from the start to the first look, give or take a half, so that nodes that
            start together do not all begin.
        every: seconds from one look to the next.
    """

    name = "pruning"

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
            with suppress(Unavailable):  # whoever fires tells of it; the next look is soon enough
                await self._prune(keep)

    async def _prune(self, keep: timedelta) -> None:
        runs = events = 0
        async for done in self._steps(keep):
            runs, events = runs + done.runs, events + done.events
            if await self.pause(BREATH_S):
                break
        if runs or events:
            self._emit("history_pruned", runs=runs, events=events, keep_days=keep.days)
