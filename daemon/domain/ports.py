"""What every component asks of its surroundings: a place for events, and a clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def emit_each(
    emit: Emit,
    event: str,
    fields: dict[str, Any],
    keys: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Emit an event for each row of a batch.

    A subscriber with a method ``emit_each`` takes the batch at once, any other one a row at a time.

    Args:
        emit: the subscriber.
        event: the event.
        fields: its keys in order; the values of those in ``keys`` do not matter.
        keys: the keys whose values differ.
        rows: their values, for each time that the event is emitted.
    """
    take: Callable[..., None] | None = getattr(emit, "emit_each", None)
    if take is not None:
        take(event, fields, keys, rows)
        return
    for row in rows:
        fields = fields | dict(zip(keys, row, strict=True))
        emit(event, **fields)


class Clock(Protocol):
    """Wall time for decisions, monotonic time for durations."""

    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds, for differences only."""
        ...
