"""``Retry-After``, as seconds or as a date (RFC 9110, 10.2.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after(value: str | None, now: datetime, limit: float) -> float:
    """Seconds to wait: what the header asks for, at most ``limit``; 0 if it can not be read."""
    if not value:
        return 0.0
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), limit)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    try:
        return min(max((at - now).total_seconds(), 0.0), limit)
    except OverflowError:
        return limit
