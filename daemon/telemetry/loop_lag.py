"""How late the event loop comes to what it has promised: the first sign of too much work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from daemon.domain.ports import Clock
from daemon.runtime.service import Service

EVERY_S = 1.0


class LoopLag(Service):
    """Sleeps, and measures how much longer that took than it should have."""

    name = "loop lag"

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
        """At once: there is nothing to end."""
        del grace
        await super().stop(grace=0)
