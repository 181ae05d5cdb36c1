"""Periodic tasks: what others may have changed is checked at an interval."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from daemon.domain.errors import Unavailable
from daemon.runtime.service import Service

EVERY_S = 5.0


class PeriodicTask(Service):
    """Calls a check at an interval; an error of the check ends the daemon.

    Args:
        name: of the service.
        check: may take as long as it needs; it is cancelled when the daemon stops.
        every: seconds between two checks; `EVERY_S` by default.
    """

    def __init__(
        self, name: str, check: Callable[[], Awaitable[None]], *, every: float | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self._check = check
        self._every = EVERY_S if every is None else every

    async def run(self) -> None:
        """Check at once, and then periodically, until asked to stop."""
        while not self.stopping.is_set():
            with contextlib.suppress(Unavailable):  # the services that fire runs log the outage
                await self._check()
            await self.wait_for_stop(self._every)
