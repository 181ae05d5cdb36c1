"""Times as an operator types them: `09:00`, `yesterday 09:00`, `monday`, `2026-11-30 06:00`, `1h`.

A text without an offset is clock time in a zone that the command knows, such as a campaign's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import typer

from daemon.cli.screen import screen
from daemon.domain.requests.datetimes import parse_date, parse_datetime, resolve_datetime
from daemon.domain.requests.fields import datetime_fault
from daemon.domain.schedule.timezones import wall_clock
from daemon.domain.schedule.words import WEEKDAYS

FORMS = "09:00, yesterday 09:00, monday 09:00, 2026-11-30, 2026-11-30 06:00 or an instant"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_is_length = re.compile(r"([0-9]{1,5})([smhdw])").fullmatch
_is_time = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?").fullmatch


class When(NamedTuple):
    """A parsed text: a day, a time of day, or both; or a whole datetime."""

    written: datetime | None = None
    day: str | None = None
    at: time | None = None

    @property
    def span(self) -> timedelta:
        """The span that the text means: without seconds the whole minute, and so on."""
        moment = self.written or self.at
        if moment is None or moment.microsecond:
            return timedelta(microseconds=1)
        return timedelta(seconds=1) if moment.second else timedelta(minutes=1)


def parse_when(text: str, hint: str) -> When:
    """Parse a text. Raises typer.BadParameter for the option `hint`."""
    words = text.strip().lower().split()
    written = parse_datetime(text.strip().upper().replace(" ", "T", 1))
    if written is not None:
        return When(written)
    if (day := parse_date(text.strip())) is not None:
        return When(datetime.combine(day, time()))
    at = _parse_time(words[-1]) if words else None
    names = words[:-1] if at is not None else words
    if len(names) > 1 or not words or (names and _day_number(names[0]) is None):
        raise typer.BadParameter(f"{datetime_fault(text, FORMS)}", param_hint=hint)
    return When(None, names[0] if names else None, at)


def resolve_when(when: When, now: datetime, zone: ZoneInfo, *, past: bool, hint: str) -> datetime:
    """Return the aware instant of a parsed time.

    Args:
        when: the parsed time.
        now: the present, aware.
        zone: the zone of the clock time.
        past: whether a time without a date, or a weekday, is the latest one; else the next one.
        hint: the option, for the error.

    Raises:
        typer.BadParameter: outside the years 1 to 9999.
    """
    try:
        return resolve_datetime(_local(when, now, zone, past=past), zone)[0].astimezone(UTC)
    except OverflowError:
        raise typer.BadParameter("out of the calendar's range", param_hint=hint) from None


def _local(when: When, now: datetime, zone: ZoneInfo, *, past: bool) -> datetime:
    if when.written is not None:
        return when.written
    here = wall_clock(now, zone)
    at = when.at or time()
    local = datetime.combine(here.date(), at)
    if when.day in _DAYS:
        return local + timedelta(days=_DAYS[when.day])
    step = timedelta(days=1)
    if when.day is not None:
        wanted = _day_number(when.day)
        assert wanted is not None
        step = timedelta(days=7)
        local += timedelta(days=(wanted - local.weekday()) % 7)
    if past and local > here:
        return local - step
    return local if past or local > here else local + step


def parse_length(text: str) -> timedelta | None:
    """Return a length of time such as 90s, 30m, 1h, 7d or 2w; None for other texts."""
    found = _is_length(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


def parse_since(text: str) -> datetime:
    """Return the instant of a text for --since: a length of time before now, or a time."""
    now = screen().now
    length = parse_length(text)
    if length is not None:
        return now - length
    return resolve_when(parse_when(text, "--since"), now, screen().zone, past=True, hint="--since")


def _parse_time(word: str) -> time | None:
    found = _is_time(word)
    if found is None:
        return None
    hour, minute, second = (int(part or 0) for part in found.groups())
    return time(hour, minute, second)


def _day_number(word: str) -> int | None:
    """Return the weekday's number, 0 for one of the other days; None for another word."""
    if word in _DAYS:
        return 0
    return weekday_number(word)


def weekday_number(word: str) -> int | None:
    """Return the number of a weekday (Monday 0), by at least three of its letters, or None."""
    for number, name in enumerate(WEEKDAYS):
        if len(word) >= 3 and name.lower().startswith(word.lower()):
            return number
    return None
