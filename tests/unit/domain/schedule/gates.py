"""Send windows, calendars and gates in few words, for a test."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from daemon.domain.formatting import utc_text
from daemon.domain.schedule.calendars import Calendar, Closure
from daemon.domain.schedule.gate import Gate
from daemon.domain.schedule.schedule import Schedule
from daemon.domain.schedule.send_window import Disposition, SendWindow
from daemon.domain.schedule.timezones import wall_clock, zone
from daemon.domain.schedule.weekly_hours import Opening, WeeklyHours, weekly_hours

SEND, NEXT_WINDOW = Disposition.SEND, Disposition.NEXT_WINDOW
HOLD, SKIP = Disposition.HOLD, Disposition.SKIP
EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)
WORKDAYS = (1, 2, 3, 4, 5)


def hours(*spans: str, days: tuple[int, ...] = EVERY_DAY) -> WeeklyHours:
    """Return weekly hours such as "08:00-21:00" on some days."""
    return weekly_hours(
        Opening(days, *(int(time[:2]) * 60 + int(time[3:]) for time in span.split("-")))
        for span in spans
    )


def office(days: tuple[int, ...] = WORKDAYS) -> WeeklyHours:
    return hours("09:00-17:00", days=days)


def closed_on(day: str, label: str | None = None) -> Closure:
    return Closure(date.fromisoformat(day), date.fromisoformat(day), label)


def closed_for(start: str, end: str, label: str | None = None) -> Closure:
    return Closure(datetime.fromisoformat(start), datetime.fromisoformat(end), label)


def gate(schedule: Schedule, *shared: Calendar, **window: Any) -> Gate:
    """Return the gate of a window that names all of the calendars."""
    names = tuple(calendar.name for calendar in shared)
    by_name = {calendar.name: calendar for calendar in shared}
    return Gate(schedule, SendWindow(**{"calendars": names, **window}), by_name)


def verdict(of: Gate, schedule: Schedule, instant: str) -> tuple[Disposition, str, str | None]:
    """Return the verdict on the occurrence at an instant: disposition, due instant and cause."""
    at = datetime.fromisoformat(instant)
    found = of.judge(at, wall_clock(at, zone(schedule.timezone)))
    return found.disposition, utc_text(found.due_at), found.why
