"""The `send_window` of a schedule's body, and the weekly hours that calendars have as well.

Both schedule bodies declare `SEND_WINDOW` beside the other extensions. `send_window_of` turns
what was read without faults into the value that the gate uses.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import date, time
from difflib import get_close_matches
from typing import NamedTuple

from daemon.domain.requests.declaration import Body, Items, declare_field
from daemon.domain.requests.fields import Faults, shown_value
from daemon.domain.requests.forms import (
    DATE,
    TIME,
    TIME_PATTERN,
    WEEKDAYS,
    ZONE,
    Form,
    array_form,
    choice_form,
    integer_form,
    pattern_schema,
)
from daemon.domain.schedule.send_window import DEFER_AT_MOST, Disposition, SendWindow
from daemon.domain.schedule.weekly_hours import DAY, Opening, WeeklyHours, weekly_hours

MOST_OPENINGS = 28
MOST_CALENDARS = 10
MOST_EXCEPT_DATES = 366
CALENDAR_NAME = "[a-z0-9][a-z0-9_-]{0,62}"
_is_calendar_name = re.compile(CALENDAR_NAME).fullmatch
_LIKENESS = 0.7
"""Minimum likeness of a suggested calendar's name, from 0 to 1."""


def read_calendar_name(faults: Faults, path: str, value: object) -> str | None:
    """Read the name of a calendar."""
    if isinstance(value, str) and _is_calendar_name(value):
        return value
    text = "must be 1 to 63 of a-z, 0-9, _ and -, and begin with a letter or digit"
    faults.add_malformed(path, f"is {shown_value(value)}, {text}")
    return None


def _read_end(faults: Faults, path: str, value: object) -> int | None:
    """Read a time of day or 24:00 as minutes since midnight."""
    if value == "24:00":
        return DAY
    if isinstance(value, str) and (end := TIME.read(Faults(), path, value)) is not None:
        return _minutes(end)
    faults.add_malformed(path, f"is {shown_value(value)}, must be HH:MM from 00:00 to 24:00")
    return None


_END = Form(_read_end, pattern_schema(f"(?:{TIME_PATTERN}|24:00)", examples=["17:00"]))
_OUTSIDE = choice_form({word.value: word for word in Disposition if word is not Disposition.SEND})
_NAMES = array_form(
    Form(read_calendar_name, pattern_schema(CALENDAR_NAME)), "names", MOST_CALENDARS
)


class HoursConfig(NamedTuple):
    """A time of day on some days of the week; an end before the start is on the day after."""

    days: tuple[int, ...] = declare_field(
        WEEKDAYS, default=(1, 2, 3, 4, 5, 6, 7), doc="1 to 7, Monday is 1."
    )
    start: time = declare_field(TIME, required=True, doc="HH:MM, included.")
    end: int = declare_field(_END, required=True, doc="HH:MM or 24:00, not included.")


def _check_hours(faults: Faults, path: str, hours: HoursConfig) -> None:
    if _minutes(hours.start) == hours.end:
        both = f"start and end are both {hours.start:%H:%M}"
        faults.add_unsupported(path, f"{both}: a whole day is 00:00 to 24:00")


OPEN = Items(Body(HoursConfig, check=_check_hours), "openings", 1, MOST_OPENINGS)


class SendWindowConfig(NamedTuple):
    """When the occurrences of a schedule may start. An empty object clears it."""

    open: tuple[HoursConfig, ...] = declare_field(
        OPEN, default=(), doc="Default: at any time of day."
    )
    calendars: tuple[str, ...] = declare_field(
        _NAMES, default=(), doc="Names of calendars, all of which must be open."
    )
    except_dates: tuple[date, ...] = declare_field(
        array_form(DATE, "dates", MOST_EXCEPT_DATES),
        default=(),
        doc="Local dates on which nothing starts; their occurrences are skipped.",
    )
    timezone: str | None = declare_field(ZONE, doc="The zone of open. Default: the schedule's.")
    outside: Disposition = declare_field(
        _OUTSIDE,
        default=Disposition.NEXT_WINDOW,
        doc="What becomes of an occurrence outside: it waits for the next opening, or for an "
        "operator, or is skipped.",
    )
    defer_at_most: int = declare_field(
        integer_form(60, 31_622_400), default=DEFER_AT_MOST, doc="Longest wait in seconds."
    )


def _check_window(faults: Faults, path: str, window: SendWindowConfig) -> None:
    has_none = not (window.open or window.calendars or window.except_dates)
    if has_none and window != SEND_WINDOW.absent:
        faults.add_unsupported(path, "must have open, calendars or except_dates; {} clears it")


SEND_WINDOW = Body(SendWindowConfig, check=_check_window)


def send_window_of(window: SendWindowConfig) -> SendWindow | None:
    """Return the value of what was read without faults; None for an empty object."""
    if not (window.open or window.calendars or window.except_dates):
        return None
    return SendWindow(
        hours_of(window.open),
        tuple(dict.fromkeys(window.calendars)),
        tuple(sorted(set(window.except_dates))),
        window.timezone,
        window.outside,
        window.defer_at_most,
    )


def hours_of(hours: Iterable[HoursConfig]) -> WeeklyHours | None:
    """Return the union of hours that were read without faults; None where there are none."""
    openings = [Opening(days, _minutes(start), end) for days, start, end in hours]
    return weekly_hours(openings) if openings else None


def names_calendars(body: object) -> bool:
    """Return whether the body of a schedule, not read yet, may name calendars."""
    window = body.get("send_window") if isinstance(body, dict) else None
    return isinstance(window, dict) and bool(window.get("calendars"))


def unknown_calendar(names: Iterable[str], known: Collection[str]) -> str | None:
    """Return the fault of `send_window.calendars` that names an unknown calendar, if one does."""
    for name in names:
        if name not in known:
            likely = get_close_matches(name, known, 1, _LIKENESS)
            hint = f"; did you mean {likely[0]}?" if likely else ""
            return f"names {name!r}, which there is not{hint}"
    return None


def _minutes(of: time) -> int:
    return of.hour * 60 + of.minute
