"""How long a piece of work takes, and for how long the present one has been going on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from daemon.domain.ports import Clock


class Stopwatch:
    """Times work that is done again and again, sometimes two pieces at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[object, float] = {}
        self.observers: list[Callable[[float], None]] = []
        """Told the seconds of work that ended well."""

    @contextmanager
    def lap(self) -> Iterator[None]:
        """Around one piece of work."""
        lap = object()
        self._began[lap] = self._clock.monotonic()
        try:
            yield
        except BaseException:
            del self._began[lap]
            raise
        took = self._clock.monotonic() - self._began.pop(lap)
        for observe in self.observers:
            observe(took)

    def running_for(self) -> float:
        """Seconds of the longest work under way; 0 when there is none."""
        if not self._began:
            return 0.0
        return self._clock.monotonic() - min(self._began.values())
