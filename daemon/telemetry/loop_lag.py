"""Measures the delay of the event loop's timers, the first sign of an overloaded daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from daemon.domain.ports import Clock
from daemon.runtime.service import Service

EVERY_S = 1.0
"""Seconds between measurements."""


class LoopLag(Service):
    """Sleeps, and measures by how much each sleep took too long."""

    name = "loop_lag"

    def __init__(self, clock: Clock, observe: Callable[[float], None]) -> None:
        super().__init__()
        self._clock = clock
        self._observe = observe

    async def run(self) -> None:
        """Measure until cancelled."""
        while not self.stopping.is_set():
            began = self._clock.monotonic()
            await asyncio.sleep(EVERY_S)
            self._observe(max(0.0, self._clock.monotonic() - began - EVERY_S))

    async def stop(self, grace: float | None = None) -> None:
        """Stop at once."""
        del grace
        await super().stop(grace=0)
