"""Durations: of work that repeats, and of the present turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from daemon.domain.ports import Clock
from daemon.runtime.clock import DatabaseClock


class Stopwatch:
    """Times work that repeats, sometimes two pieces of it at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[object, float] = {}
        self.observers: list[Callable[[float], None]] = []
        """Called with the seconds of each piece of work that ended without an error."""

    @contextmanager
    def time_lap(self) -> Iterator[None]:
        """Time one piece of work."""
        lap = object()
        self._began[lap] = self._clock.monotonic()
        try:
            yield
        except BaseException:
            del self._began[lap]
            raise
        seconds = self._clock.monotonic() - self._began.pop(lap)
        for observe in self.observers:
            observe(seconds)

    def longest_running(self) -> float:
        """Return the seconds of the longest piece of work under way; 0 without one."""
        if not self._began:
            return 0.0
        return self._clock.monotonic() - min(self._began.values())


class LoopTurn:
    """One turn of the event loop, so that a burst reads the clocks once a turn and not once a run.

    The first call in a turn starts it; the event loop ends it before its next turn.
    """

    def __init__(self, clock: Clock, database_clock: DatabaseClock) -> None:
        self._clock = clock
        self._database_clock = database_clock
        self._began: float | None = None
        self._now = database_clock.now()

    def now(self) -> datetime:
        """Return the database's clock as of the start of this turn."""
        self._begin()
        return self._now

    def elapsed_seconds(self) -> float:
        """Return the seconds since this turn started."""
        return self._clock.monotonic() - self._begin()

    def _begin(self) -> float:
        if self._began is None:
            self._began = self._clock.monotonic()
            self._now = self._database_clock.now()
            asyncio.get_running_loop().call_soon(self._end)
        return self._began

    def _end(self) -> None:
        self._began = None
