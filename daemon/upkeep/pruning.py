"""Retention: history older than it has to be kept is deleted, now and then, a little at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Protocol

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.lifecycle.service import Service

EVERY_S = 3600.0
BREATH_S = 0.05
"""Between two transactions, so that firing is not disturbed."""


class Pruned(Protocol):
    """What a transaction deleted."""

    @property
    def runs(self) -> int: ...
    @property
    def events(self) -> int: ...


class Pruning(Service):
    """Prunes every hour, as long as there is a limit; of several nodes one does it at a time.

    Args:
        steps: deletes what is older, one item for each transaction.
        keep: how long history is kept; None: for ever.
    """

    name = "pruning"

    def __init__(
        self,
        steps: Callable[[timedelta], AsyncIterator[Pruned]],
        keep: Callable[[], timedelta | None],
        *,
        emit: Emit,
    ) -> None:
        super().__init__()
        self._steps = steps
        self._keep = keep
        self._emit = emit

    async def run(self) -> None:
        """Prune until asked to stop."""
        while not await self.pause(EVERY_S):
            keep = self._keep()
            if keep is None:
                continue
            try:
                await self._prune(keep)
            except Unavailable:
                continue  # whoever fires tells of it; an hour later is soon enough

    async def _prune(self, keep: timedelta) -> None:
        runs = events = 0
        async for done in self._steps(keep):
            runs, events = runs + done.runs, events + done.events
            if await self.pause(BREATH_S):
                break
        if runs or events:
            self._emit("history_pruned", runs=runs, events=events, keep_days=keep.days)
