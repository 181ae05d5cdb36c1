"""Clocks that a test sets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""A Monday; the wall time of a new clock."""


class SettableClock:
    """Stands still until a test moves it.

    Monotonic time is ``seconds``. Wall time is noon, plus ``seconds``, plus ``offset``, by which a
    test sets it like the clock of a machine.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.offset = timedelta(0)

    def now(self) -> datetime:
        """Return the wall time."""
        return NOON + self.offset + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Return the monotonic time in seconds."""
        return self.seconds


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def days(count: float) -> timedelta:
    return timedelta(days=count)
