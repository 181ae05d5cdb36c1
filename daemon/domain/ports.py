"""What every component asks of its surroundings: a place for events, and a clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol


class Emit(Protocol):
    """Emits an event: a stable name and its keys. Never raises, never waits."""

    def __call__(self, event: str, /, **fields: Any) -> None: ...


def is_enabled(emit: Emit, event: str) -> bool:
    """Return whether any subscriber handles this event.

    Callers check before they build fields for each run. A subscriber without a method
    ``is_enabled`` handles every event.
    """
    check: Callable[[str], bool] | None = getattr(emit, "is_enabled", None)
    return check is None or check(event)


class Clock(Protocol):
    """Wall time for decisions, monotonic time for durations."""

    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds, for differences only."""
        ...
