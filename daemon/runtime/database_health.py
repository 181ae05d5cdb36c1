"""Database outages: logs the start and the end of each one, and backs off in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Clock, Emit
from daemon.runtime.service import Service

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 2.0
MOST_CONFLICTS = 2
"""Conflicts of a service with other transactions in a row; a further one is an outage.

A table that another session has locked, for example, stops the service for as long as that lasts.
"""


class DatabaseHealth:
    """The state of the database, shared by every service that uses it.

    An outage is over once every service that failed has succeeded again. So a server that answers
    reads but not writes, or one session that hangs, is logged once and not again and again.
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
        """Last failure of each service that has not succeeded since, on the monotonic clock."""
        self._backing_off: dict[str, asyncio.Event] = {}
        """Services that wait before the next try; the event is set when they try."""
        self.error: str | None = None
        """The error of the last failure."""
        self.on_recovery: list[Callable[[], None]] = []

    @property
    def is_up(self) -> bool:
        """Whether no service fails to reach the database."""
        return self._lost_at is None

    @property
    def outage_seconds(self) -> float:
        """Seconds since the outage began; 0 without one."""
        return 0.0 if self._lost_at is None else self._clock.monotonic() - self._lost_at

    def succeeded(self, service: Service, since: float | None = None) -> None:
        """Note that a statement of ``service`` succeeded.

        Args:
            service: the service whose statement it was.
            since: when the statement began, on the monotonic clock. With two statements under way,
                one that began before the other failed does not prove that the outage is over.
        """
        if since is None or since >= self._failing.get(service.name, since):
            self._failures.pop(service.name, None)
            self._failing.pop(service.name, None)
        if self._lost_at is None or self._failing:
            return
        away = self._clock.monotonic() - self._lost_at
        self._lost_at = None
        self._emit("database_back", away_s=round(away, 3))
        for recovered in self.on_recovery:
            recovered()

    async def failed(self, service: Service, error: Unavailable) -> None:
        """Note that a statement of ``service`` failed; wait before the next try."""
        if not error.is_outage and self._failures.get(service.name, 0) < MOST_CONFLICTS:
            if service.name not in self._failures:
                self._emit("transaction_aborted", service=service.name, error=error.detail)
            await self.back_off(service)
            return
        self._failing[service.name] = self._clock.monotonic()
        self.error = error.detail
        if self._lost_at is None:
            self._lost_at = self._clock.monotonic()
            self._emit("database_lost", error=error.detail)
        await self.back_off(service)

    async def back_off(self, service: Service) -> None:
        """Wait before the next try of ``service``; the wait grows until a try succeeds."""
        failures = self._failures.get(service.name, 0)
        self._failures[service.name] = failures + 1
        ceiling = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(failures, 10))
        wait = ceiling * (0.5 + self._jitter() / 2)
        tried = self._backing_off.setdefault(service.name, asyncio.Event())
        try:
            if service.stopping.is_set():
                await asyncio.sleep(wait)  # outcomes are still written: not in a hot loop
            else:
                await service.wait_for_stop(wait)
        finally:
            self._backing_off.pop(service.name, None)
            tried.set()

    async def wait_while_backing_off(self, service: Service) -> bool:
        """Wait while another task of ``service`` backs off; return whether one did."""
        tried = self._backing_off.get(service.name)
        if tried is None:
            return False
        await tried.wait()
        return True
