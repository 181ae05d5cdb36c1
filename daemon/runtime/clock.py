"""The clocks: this machine's, which only this module reads, and the database's, as estimated."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from daemon.domain.ports import Clock

_INCLUDING_SLEEP = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """Wall time and monotonic time of this machine."""

    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds for differences only; time asleep counts where the machine can tell."""
        return time.clock_gettime(_INCLUDING_SLEEP)


class DatabaseClock:
    """The database's clock, estimated from its last measurement and monotonic time.

    An entry is never taken for late because this machine's wall clock was set.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._measured = clock.now(), clock.monotonic()
        self.skew = timedelta(0)
        """The database's clock minus this machine's, as last measured."""

    def now(self) -> datetime:
        """Return what the database's clock shows now, as far as known."""
        then, at = self._measured
        return then + timedelta(seconds=self._clock.monotonic() - at)

    def set_skew(self, skew: timedelta) -> None:
        """Take over a new measurement of the skew."""
        self.skew = skew
        self._measured = self._clock.now() + skew, self._clock.monotonic()
