"""The daemon's link to its database: an outage is said once, waited out, and said to be over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Clock, Emit
from daemon.runtime.service import Service

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0


class DatabaseHealth:
    """Shared by everything that talks to the database.

    An outage is over once all that failed have succeeded: a server that can be read but not written
    to, or one session that hangs, is said once, not again and again.
    """

    def __init__(
        self,
        emit: Emit,
        clock: Clock,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._emit = emit
        self._clock = clock
        self._jitter = jitter
        self._lost_at: float | None = None
        self._failures: dict[str, int] = {}
        self._failing: dict[str, float] = {}
        """When each last failed, of those that have not succeeded since."""
        self._waiting: dict[str, asyncio.Event] = {}
        """Of those that wait before they try again: set when they do."""
        self.on_recovery: list[Callable[[], None]] = []

    @property
    def is_up(self) -> bool:
        """Whether nothing that is asked of the database fails."""
        return self._lost_at is None

    @property
    def away_for(self) -> float:
        """Seconds since the database was lost; 0 while it is there."""
        return 0.0 if self._lost_at is None else self._clock.monotonic() - self._lost_at

    def ok(self, service: Service, since: float | None = None) -> None:
        """A statement of ``service`` succeeded that began at ``since``, by ``monotonic``.

        Where two are under way at once, what began before the other failed says nothing of now.
        """
        if since is None or since >= self._failing.get(service.name, since):
            self._failures.pop(service.name, None)
            self._failing.pop(service.name, None)
        if self._lost_at is None or self._failing:
            return
        away = self._clock.monotonic() - self._lost_at
        self._lost_at = None
        self._emit("database_back", away_s=round(away, 3))
        for call in self.on_recovery:
            call()

    async def failed(self, service: Service, error: Unavailable) -> None:
        """A statement of ``service`` failed; wait before the next try, longer each time."""
        self._failing[service.name] = self._clock.monotonic()
        if self._lost_at is None:
            self._lost_at = self._clock.monotonic()
            self._emit("database_lost", error=error.detail)
        await self.back_off(service)

    async def back_off(self, service: Service) -> None:
        """Wait before ``service`` tries again, longer each time until one try is ``ok``."""
        failures = self._failures.get(service.name, 0)
        self._failures[service.name] = failures + 1
        ceiling = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(failures, 10))
        wait = ceiling * (0.5 + self._jitter() / 2)
        waiting = self._waiting.setdefault(service.name, asyncio.Event())
        try:
            if service.stopping.is_set():
                await asyncio.sleep(wait)  # still writing outcomes: not in a hot loop
            else:
                await service.pause(wait)
        finally:
            self._waiting.pop(service.name, None)
            waiting.set()

    async def waits_with(self, service: Service) -> bool:
        """Wait while a part of ``service`` waits before it tries again; whether one did."""
        waiting = self._waiting.get(service.name)
        if waiting is None:
            return False
        await waiting.wait()
        return True
