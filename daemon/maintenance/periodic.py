"""Another process may work on the same database: another release, other time-zone data."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from daemon.domain.errors import Unavailable
from daemon.runtime.service import Service

EVERY_S = 5.0


class PeriodicTask(Service):
    """Looks every few seconds for what others changed; what a look raises ends the daemon.

    Args:
        name: of the service.
        look: may take as long as it needs; it is cancelled when the daemon stops.
    """

    def __init__(self, name: str, look: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.name = name
        self._look = look

    async def run(self) -> None:
        """Look, at once and then again and again, until asked to stop."""
        while not self.stopping.is_set():
            with contextlib.suppress(Unavailable):  # whoever fires tells of it
                await self._look()
            await self.pause(EVERY_S)
