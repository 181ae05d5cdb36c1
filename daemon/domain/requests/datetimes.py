"""Datetimes and dates as written in request bodies, and their meaning in a time zone.

The accepted forms are `YYYY-MM-DDTHH:MM[:SS[.fraction]]` with optional `Z`, `+HH:MM` or `+HHMM`
(docs/semantics.md#campaigns), and no other form of ISO 8601. Fractions are cut to microseconds.

The standard library parses what these patterns accept. python-dateutil does not serve here:
`dateutil.parser.isoparse` accepts far more forms of ISO 8601, so the patterns would stay, and it is
several times slower than `datetime.fromisoformat`.
"""

from __future__ import annotations

import re
from calendar import month_name, monthrange
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from daemon.domain.schedule.daylight_saving import DaylightSaving, passes
from daemon.domain.schedule.timezones import resolve, wall_clock

DATETIME_FORM = "YYYY-MM-DDTHH:MM[:SS[.fraction]] with optional Z, +HH:MM or +HHMM"
INSTANT_FORM = "YYYY-MM-DDTHH:MM[:SS[.fraction]] with Z, +HH:MM or +HHMM"
DATE_FORM = "YYYY-MM-DD"

# The patterns check ranges, because fromisoformat's own tolerance differs between Python versions.
DATE_PATTERN = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]+)?)?"
_OFFSET = r"(?:Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])"
INSTANT_PATTERN = f"{DATE_PATTERN}T{_TIME}{_OFFSET}"
DATETIME_PATTERN = f"{INSTANT_PATTERN}?"
END_DATE_PATTERN = f"{DATE_PATTERN}(?:T{_TIME}{_OFFSET}?)?"
MAX_LENGTH = 256
"""Maximum characters of a datetime, whatever its fraction."""
_is_datetime = re.compile(DATETIME_PATTERN).fullmatch
_is_date = re.compile(DATE_PATTERN).fullmatch
_long_fraction = re.compile(r"(\.[0-9]{6})[0-9]+")
_numbers_of = re.compile(
    "([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.[0-9]+)?)?(?:Z|([+-])([0-9]{2}):?([0-9]{2}))?)?"
).fullmatch


def parse_datetime(text: str) -> datetime | None:
    """Return a naive or aware datetime as written, or None when `text` is malformed."""
    if len(text) > MAX_LENGTH or _is_datetime(text) is None:
        return None
    if len(text) > 26:
        text = _long_fraction.sub(r"\1", text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # the 30th of February, the year 0
        return None


def parse_instant(text: str) -> datetime | None:
    """Return the UTC instant of a datetime with an offset, or None when `text` is malformed."""
    written = parse_datetime(text)
    if written is None or written.tzinfo is None:
        return None
    try:
        return written.astimezone(UTC)
    except OverflowError:  # outside the years 1 to 9999
        return None


def parse_date(text: str) -> date | None:
    """Return a calendar date, or None when `text` is malformed."""
    if _is_date(text) is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def parse_date_or_instant(text: str) -> datetime | None:
    """Return an instant, for a date the start of its day in UTC; None when malformed."""
    day = parse_date(text)
    return datetime.combine(day, time(), UTC) if day else parse_instant(text)


def describe_impossible(text: str) -> str | None:
    """Return why a date or datetime of the right form does not exist; None for other text."""
    found = _numbers_of(text) if len(text) <= MAX_LENGTH else None
    if found is None:
        return None
    sign = found[7]
    year, month, day, hour, minute, second, ahead, past = (
        int(found[group] or 0) for group in (1, 2, 3, 4, 5, 6, 8, 9)
    )
    if year == 0:
        return "there is no year 0"
    if not 1 <= month <= 12:
        return f"there is no month {month}"
    last = monthrange(year, month)[1]
    if not 1 <= day <= last:
        return f"there is no such day: {month_name[month]} {year} has {last} days"
    if hour == 24 and minute == second == 0:
        return "there is no hour 24: midnight is 00:00 of the next day"
    if hour > 23:
        return f"there is no hour {hour}"
    if minute > 59:
        return f"there is no minute {minute}"
    if second > 59:
        return f"there is no second {second}"
    if ahead > 23 or past > 59:
        return f"there is no offset {sign}{ahead:02}:{past:02}"
    return None


def resolve_datetime(
    written: datetime, in_zone: ZoneInfo, policy: DaylightSaving | None = None
) -> tuple[datetime, datetime]:
    """Return the UTC instant and the naive wall-clock time in the zone.

    A naive datetime keeps the wall-clock time as written, also in a gap. It is one instant: with
    `Fold.BOTH` the first pass.

    Raises:
        OverflowError: Outside the years 1 to 9999.
    """
    if written.tzinfo is None:
        if policy is not None:
            return passes(written, in_zone, policy)[0], written
        return resolve(written, in_zone), written
    instant = written.astimezone(UTC)
    return instant, wall_clock(instant, in_zone)


def end_of_day(day: date, in_zone: ZoneInfo) -> datetime:
    """Return the UTC instant of a local date's last microsecond, within the years 1 to 9999."""
    last = datetime(day.year, day.month, day.day, 23, 59, 59, 999999, tzinfo=in_zone)
    try:
        # In an overlap the second pass is the later one, in a gap the offset before it is.
        return max(last.astimezone(UTC), last.replace(fold=1).astimezone(UTC))
    except OverflowError:
        if day.year > 1:
            return datetime.max.replace(tzinfo=UTC)
        return datetime.min.replace(tzinfo=UTC)
