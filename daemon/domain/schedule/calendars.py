"""Shared calendars: weekly hours and closures that many schedules name in their send windows.

`daemon.domain.requests.calendar_body` reads a calendar from JSON, `daemon.calendar_sources` reads
one from iCalendar and from public holidays. `gate.Gate` takes the calendars of a send window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import NamedTuple

from daemon.domain.schedule.weekly_hours import WeeklyHours

_TICK = timedelta(microseconds=1)
_END = datetime.combine(date.max, time.max)


class Closure(NamedTuple):
    """A time in which a calendar is closed.

    Both ends are of one kind. Dates include the last one. Datetimes exclude the end: naive ones are
    readings of the calendar's clock, aware ones instants.
    """

    start: date
    end: date
    label: str | None = None


class Closures(NamedTuple):
    """Closures of one kind, in order and without overlap; the first label covers an overlap."""

    starts: tuple[datetime, ...] = ()
    ends: tuple[datetime, ...] = ()
    labels: tuple[str | None, ...] = ()

    def find(self, moment: datetime) -> tuple[int | None, datetime | None]:
        """Return the index of the closure that covers `moment`, and when that changes, if ever."""
        place = bisect_right(self.starts, moment)
        if place and moment < self.ends[place - 1]:
            return place - 1, self.ends[place - 1]
        return None, self.starts[place] if place < len(self.starts) else None


@dataclass(frozen=True, slots=True)
class Calendar:
    """A named gate that many schedules share.

    Without `timezone` the calendar is floating (RFC 5545): its clock is that of the schedule.
    `covers_to` is the last date for which the source had entries, None when it has no end; it
    decides nothing here, it is for warnings. `dates`, `times` and `instants` are derived from
    `closed`; the first two are readings of the calendar's clock.
    """

    name: str
    closed: tuple[Closure, ...] = ()
    hours: WeeklyHours | None = None
    timezone: str | None = None
    title: str | None = None
    covers_to: date | None = None
    dates: Closures = field(init=False, repr=False, compare=False)
    times: Closures = field(init=False, repr=False, compare=False)
    instants: Closures = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        spans: tuple[list[Closure], list[Closure], list[Closure]] = ([], [], [])
        for closure in self.closed:
            if not isinstance(closure.start, datetime):
                spans[0].append(closure)
            else:
                spans[1 if closure.start.tzinfo is None else 2].append(closure)
        object.__setattr__(self, "dates", dates_closed(spans[0]))
        object.__setattr__(self, "times", _in_order(spans[1]))
        object.__setattr__(self, "instants", _in_order(spans[2]))


class CalendarSet(NamedTuple):
    """All shared calendars by name, and the revision that a claim names when it used them."""

    revision: int = 0
    by_name: Mapping[str, Calendar] = MappingProxyType({})


def dates_closed(closures: Iterable[Closure]) -> Closures:
    """Return closed dates as readings, from midnight to midnight."""
    return _in_order(
        Closure(
            datetime.combine(first, time()),
            datetime.combine(last, time.max) + _TICK if last < date.max else _END,
            label,
        )
        for first, last, label in closures
    )


def _in_order(closures: Iterable[Closure]) -> Closures:
    kept: list[Closure] = []
    for closure in sorted(closures, key=lambda each: each.start):
        start = closure.start
        if kept and kept[-1].end > start:
            start = kept[-1].end
        if start < closure.end:
            kept.append(closure._replace(start=start))
    return Closures(*zip(*kept, strict=True)) if kept else Closures()
