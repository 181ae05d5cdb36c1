"""A service that polls the database: when it is woken, and at the latest after an interval."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod

from daemon.domain.errors import Unavailable
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service


class PollingService(Service):
    """Calls ``run_once`` at the start, whenever it is woken, and every ``every`` seconds.

    A poll that finds the database unavailable is repeated after a backoff, which grows until one
    poll succeeds.

    Args:
        health: the state of the database, shared by all services.
        every: seconds between polls; None: polls only when woken.
    """

    def __init__(self, health: DatabaseHealth, every: float | None) -> None:
        super().__init__()
        self._health = health
        self._every = every
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Poll now. Never blocks."""
        self._wake.set()

    @abstractmethod
    async def run_once(self) -> None:
        """Poll once. Raises Unavailable when the database does not answer."""

    def idle_seconds(self) -> float | None:
        """Return the seconds to wait for the next poll; None: until woken."""
        return self._every

    async def run(self) -> None:
        """Poll until asked to stop."""
        while not self.stopping.is_set():
            try:
                await self.run_once()
            except Unavailable as error:
                await self._health.failed(self, error)
                continue
            self._health.succeeded(self)
            await asyncio.sleep(0)  # also when the service was woken meanwhile
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.idle_seconds()):
                    await self._wake.wait()
            self._wake.clear()

    async def stop(self, grace: float | None = None) -> None:
        """Ask the service to stop, also while it waits for its next poll."""
        self.stopping.set()
        self.wake()
        await super().stop(grace)
