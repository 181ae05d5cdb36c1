"""Instants, lengths of time and errors as text."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_text(instant: datetime) -> str:
    """Return an instant in UTC, such as 2026-01-01T14:00:00Z; with microseconds unless zero."""
    if instant.tzinfo is not UTC and instant.utcoffset():
        instant = instant.astimezone(UTC)
    if instant.microsecond:
        return instant.isoformat()[:-6] + "Z"
    # A third faster than isoformat, and most of a preview's answer is such texts.
    return "%04d-%02d-%02dT%02d:%02d:%02dZ" % (  # noqa: UP031
        instant.year,
        instant.month,
        instant.day,
        instant.hour,
        instant.minute,
        instant.second,
    )


def instant_text(instant: datetime | None) -> str | None:
    """Return an instant as `utc_text` does; None stays None."""
    return None if instant is None else utc_text(instant)


def duration_text(seconds: float) -> str:
    """Return a length of time for readers, such as 250 ms, 1.5 s, 3 min, 4 h or 12 days."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def error_line(error: BaseException) -> str:
    """Return an error's type and the first line of its text; a driver's next lines are its SQL."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
