"""Events of iCalendar as values, in wall-clock time; only `icalendar_text` uses this module."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, NamedTuple

from dateutil.rrule import rrulestr

from daemon.domain.requests.calendar_body import LONGEST_LABEL

_NO_LENGTH = timedelta(0)
_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_READ = ("DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID")
"""The properties that decide when an event is; a mistake in another one has no effect."""


class MalformedEvent(Exception):
    """A property of an event cannot be understood; `name` is the property."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name} {text}")
        self.name = name


class IcalendarEvent(NamedTuple):
    """An event: naive wall-clock times of its zone, which is None for dates and floating times.

    `replaces` is the recurrence of the event with the same `uid` in whose place this one is.
    """

    uid: str
    start: datetime
    length: timedelta
    in_zone: tzinfo | None
    is_timed: bool
    label: str | None
    rules: tuple[str, ...] = ()
    extra: tuple[datetime, ...] = ()
    excluded: frozenset[datetime] = frozenset()
    excluded_dates: frozenset[date] = frozenset()
    replaces: datetime | None = None
    closes: bool = True

    @property
    def has_length(self) -> bool:
        """Whether the event takes any time."""
        return self.length > _NO_LENGTH

    @property
    def recurs(self) -> bool:
        """Whether the event has other occurrences than its first one."""
        return bool(self.rules or self.extra)


def event_of(component: Any) -> IcalendarEvent:
    """Return an event of the library as a value.

    Raises:
        MalformedEvent: A property that decides when the event is cannot be understood.
    """
    for name, text in component.errors:
        if name is None or name.upper() in _READ:
            raise MalformedEvent(name or "BEGIN", f"is malformed: {text}")
    if "DTSTART" not in component:
        raise MalformedEvent("DTSTART", "is missing")
    given = _moments(component, "DTSTART")[0]
    is_timed = isinstance(given, datetime)
    in_zone = given.tzinfo if isinstance(given, datetime) else None
    start = _naive(given, in_zone)
    replaces = _moments(component, "RECURRENCE-ID")
    if replaces and "RANGE" in component["RECURRENCE-ID"].params:
        raise MalformedEvent("RECURRENCE-ID", "has RANGE, which is not supported")
    excluded = _moments(component, "EXDATE")
    return IcalendarEvent(
        uid=str(component.get("UID", "")),
        start=start,
        length=_length(component, start, in_zone, is_timed=is_timed),
        in_zone=in_zone,
        is_timed=is_timed,
        label=str(component.get("SUMMARY", "")).strip()[:LONGEST_LABEL] or None,
        rules=tuple(
            _rule(rule, start, in_zone, is_timed=is_timed) for rule in _listed(component, "RRULE")
        ),
        extra=tuple(_naive(each, in_zone) for each in _moments(component, "RDATE")),
        excluded=frozenset(_naive(each, in_zone) for each in excluded),
        excluded_dates=frozenset(each for each in excluded if not isinstance(each, datetime)),
        replaces=_naive(replaces[0], in_zone) if replaces else None,
    )


def _naive(given: date, in_zone: tzinfo | None) -> datetime:
    """Return what the clock of an event reads; the midnight of a date."""
    if not isinstance(given, datetime):
        return datetime.combine(given, time())
    if given.tzinfo is not None and in_zone is not None:
        given = given.astimezone(in_zone)
    return given.replace(tzinfo=None, fold=0)


def _length(
    component: Any, start: datetime, in_zone: tzinfo | None, *, is_timed: bool
) -> timedelta:
    ends = _moments(component, "DTEND")
    if ends:
        if isinstance(ends[0], datetime) != is_timed:
            raise MalformedEvent("DTEND", "must be a date or a time, as DTSTART is")
        return _naive(ends[0], in_zone) - start
    if "DURATION" in component:
        length: timedelta = component["DURATION"].dt
        return length
    return _NO_LENGTH if is_timed else timedelta(days=1)


def _rule(rule: Any, start: datetime, in_zone: tzinfo | None, *, is_timed: bool) -> str:
    """Return a recurrence as text, with its end as wall-clock time."""
    frequency = str(rule.get("FREQ", [""])[0])
    if frequency not in _FREQUENCIES:
        raise MalformedEvent(
            "RRULE", f"has FREQ {frequency!r}, must be one of {', '.join(_FREQUENCIES)}"
        )
    text = re.sub(r";?(SKIP=OMIT|RSCALE=GREGORIAN)(?=;|$)", "", rule.to_ical().decode())
    if "UNTIL" in rule:
        until = rule["UNTIL"][0]
        if not isinstance(until, datetime) and is_timed:
            until = datetime.combine(until, time(23, 59, 59))
        text = re.sub("UNTIL=[^;]*", f"UNTIL={_naive(until, in_zone):%Y%m%dT%H%M%S}", text)
    try:
        rrulestr(text, dtstart=start)
    except ValueError as error:
        raise MalformedEvent("RRULE", f"is malformed: {error}") from None
    return text


def _moments(component: Any, name: str) -> list[date]:
    """Return the dates and datetimes of a property, which may occur several times.

    Raises:
        MalformedEvent: Its time zone is not known, or it has a period of time.
    """
    found: list[date] = []
    for value in _listed(component, name):
        for each in getattr(value, "dts", [value]):
            moment = each.dt
            if not isinstance(moment, date):
                raise MalformedEvent(name, "has a period, which is not supported")
            timezone = value.params.get("TZID")
            if timezone and isinstance(moment, datetime) and moment.tzinfo is None:
                raise MalformedEvent(name, f"is in the time zone {timezone!r}, which is not known")
            found.append(moment)
    return found


def _listed(component: Any, name: str) -> list[Any]:
    value = component.get(name, [])
    return value if isinstance(value, list) else [value]
