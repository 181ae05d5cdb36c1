"""The conditions of a gate: each is open or closed at an instant, and remains so until another.

Hours and closures are read off a clock, not turned into instants: in a gap the clock skips them, in
an overlap it passes them twice. Between two clock changes a condition changes where its next
reading is; at a clock change it is asked again. Only `gate` and `open_times` use this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from daemon.domain.schedule.calendars import Calendar, Closure, Closures, dates_closed
from daemon.domain.schedule.clock_changes import LATEST, next_change
from daemon.domain.schedule.send_window import SendWindow
from daemon.domain.schedule.timezones import zone
from daemon.domain.schedule.weekly_hours import WeeklyHours

State = tuple[str | None, datetime]
"""Why a condition is closed, or None, and an instant up to which that does not change."""


class Moment:
    """A UTC instant, and what clocks read at it; each clock is read once."""

    __slots__ = ("_clocks", "at", "nominal")

    def __init__(self, at: datetime, nominal: datetime | None = None) -> None:
        self.at = at
        # The local time of the occurrence that is judged; in a gap no clock shows it.
        self.nominal = nominal
        self._clocks: dict[ZoneInfo, tuple[datetime, datetime]] = {}

    def read(self, in_zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Return the naive reading of a zone's clock, and up to when the clock runs evenly."""
        clock = self._clocks.get(in_zone)
        if clock is None:
            clock = reading(self.at, in_zone), next_change(in_zone, self.at)
            self._clocks[in_zone] = clock
        return clock


class Hours(NamedTuple):
    """Closed outside weekly hours, by the clock of a zone."""

    in_zone: ZoneInfo
    hours: WeeklyHours
    why: str

    def state(self, moment: Moment) -> State:
        """Return the state at a moment."""
        local, change = moment.read(self.in_zone)
        is_open, ahead = self.hours.find(local)
        return None if is_open else self.why, _after(moment.at, ahead, change)


class Readings(NamedTuple):
    """Closed where the clock of a zone reads closed dates or closed times."""

    in_zone: ZoneInfo
    closures: Closures
    prefix: str
    are_dates: bool = False
    by_nominal: bool = False
    """Whether an occurrence is judged by its nominal local time."""

    def state(self, moment: Moment) -> State:
        """Return the state at a moment."""
        local, change = moment.read(self.in_zone)
        if self.by_nominal and moment.nominal is not None:
            local = moment.nominal
        place, boundary = self.closures.find(local)
        why = None if place is None else _why(self.prefix, self.closures.labels[place])
        if boundary is None:
            return why, change
        return why, _after(moment.at, boundary - local, change)


class Instants(NamedTuple):
    """Closed between instants."""

    closures: Closures
    prefix: str

    def state(self, moment: Moment) -> State:
        """Return the state at a moment."""
        place, boundary = self.closures.find(moment.at)
        why = None if place is None else _why(self.prefix, self.closures.labels[place])
        return why, LATEST if boundary is None else boundary


Condition = Hours | Readings | Instants


def excluded_dates(window: SendWindow, timezone: str) -> Readings | None:
    """Return the condition of the window's excluded dates in the schedule's zone, if any."""
    if not window.except_dates:
        return None
    closures = dates_closed(Closure(day, day) for day in window.except_dates)
    return Readings(zone(timezone), closures, "excluded date", are_dates=True, by_nominal=True)


def conditions_of(calendar: Calendar, timezone: str) -> Iterator[Condition]:
    """Yield the conditions of a calendar for a schedule in a zone; closures name their label."""
    in_zone = zone(calendar.timezone or timezone)
    why = f"closed by {calendar.name}"
    if calendar.dates.starts:
        is_floating = calendar.timezone is None
        yield Readings(in_zone, calendar.dates, why, are_dates=True, by_nominal=is_floating)
    if calendar.times.starts:
        yield Readings(in_zone, calendar.times, why)
    if calendar.instants.starts:
        yield Instants(calendar.instants, why)
    if calendar.hours is not None:
        yield Hours(in_zone, calendar.hours, why)


def is_dates(condition: Condition) -> bool:
    """Return whether a condition is one of closed dates, which move occurrences by whole days."""
    return isinstance(condition, Readings) and condition.are_dates


def later(at: datetime, length: timedelta) -> datetime:
    """Return an instant later by a length of time, at most the last one of the year 9999."""
    try:
        return at + length
    except OverflowError:
        return LATEST


def reading(at: datetime, in_zone: ZoneInfo) -> datetime:
    """Return what a zone's clock reads; within a day of the calendar's ends, what UTC reads."""
    try:
        return at.astimezone(in_zone).replace(tzinfo=None)
    except OverflowError:
        return at.replace(tzinfo=None)


def _after(at: datetime, ahead: timedelta, change: datetime) -> datetime:
    """Return when an even clock has run on by `ahead`, or its next change, if that is earlier."""
    return at + ahead if ahead < change - at else change


def _why(prefix: str, label: str | None) -> str:
    return prefix if label is None else f"{prefix} ({label})"
