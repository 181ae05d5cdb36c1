"""Another process may work on the same database: another release, other time-zone data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from daemon.domain.errors import Unavailable
from daemon.lifecycle.service import Service

EVERY_S = 5.0


class Looking(Service):
    """Looks every few seconds for what others changed; what a look raises ends the daemon."""

    name = "looking"

    def __init__(self, looks: Sequence[Callable[[], Awaitable[None]]]) -> None:
        super().__init__()
        self._looks = looks

    async def look(self) -> None:
        """Every look, in their order."""
        for look in self._looks:
            await look()

    async def run(self) -> None:
        """Look until asked to stop."""
        while not await self.pause(EVERY_S):
            try:
                await self.look()
            except Unavailable:
                continue  # whoever fires tells of it
