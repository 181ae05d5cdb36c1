"""Datetimes and dates as they are written in bodies, and what they mean in a zone.

`YYYY-MM-DDTHH:MM[:SS[.fraction]]` with optional `Z`, `+HH:MM` or `+HHMM` (semantics section 1); no
other form of ISO 8601 is taken. Fractions are cut to microseconds.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from daemon.domain.schedule.timezones import resolve, wall_clock

DATETIME_FORM = "YYYY-MM-DDTHH:MM[:SS[.fraction]] with optional Z, +HH:MM or +HHMM"
DATE_FORM = "YYYY-MM-DD"

# Ranges are checked here, because fromisoformat's own tolerance differs between Python versions.
_DATE = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?"
_OFFSET = r"(?:Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?"
_is_datetime = re.compile(_DATE + "T" + _TIME + _OFFSET).fullmatch
_is_date = re.compile(_DATE).fullmatch
_long_fraction = re.compile(r"(\.[0-9]{6})[0-9]+")
# Longer text cannot be a datetime anybody means, whatever its fraction.
_LONGEST = 256


def parse_datetime(text: str) -> datetime | None:
    """A naive or aware datetime as written, or None when `text` is malformed."""
    if len(text) > _LONGEST or _is_datetime(text) is None:
        return None
    if len(text) > 26:
        text = _long_fraction.sub(r"\1", text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # the 30th of February, the year 0
        return None


def parse_date(text: str) -> date | None:
    """A calendar date, or None when `text` is malformed."""
    if _is_date(text) is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def settle(written: datetime, in_zone: ZoneInfo) -> tuple[datetime, datetime]:
    """UTC instant and naive wall-clock time in the zone; OverflowError outside years 1 to 9999.

    A naive datetime keeps the wall-clock time as written, also in a gap.
    """
    if written.tzinfo is None:
        return resolve(written, in_zone), written
    instant = written.astimezone(UTC)
    return instant, wall_clock(instant, in_zone)


def end_of_day(day: date, in_zone: ZoneInfo) -> datetime:
    """UTC instant of the last microsecond of a local date, held within the years 1 to 9999."""
    last = datetime(day.year, day.month, day.day, 23, 59, 59, 999999, tzinfo=in_zone)
    try:
        # In an overlap the second pass is the later one, in a gap the offset before it is.
        return max(last.astimezone(UTC), last.replace(fold=1).astimezone(UTC))
    except OverflowError:
        if day.year > 1:
            return datetime.max.replace(tzinfo=UTC)
        return datetime.min.replace(tzinfo=UTC)
