"""The one place that reads this machine's clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_NEVER_SET = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """Wall time and monotonic time, as the machine has them."""

    def now(self) -> datetime:
        """The aware UTC instant."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds, for differences only; they go on while the machine sleeps, where it can tell."""
        return time.clock_gettime(_NEVER_SET)
