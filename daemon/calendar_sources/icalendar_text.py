"""A shared calendar from iCalendar text (RFC 5545): its events are the closures.

The API and the command that save a calendar will call `read_icalendar`. Events on dates become
closed dates. Events with times become spans: floating ones are read off the calendar's clock, the
others are instants.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import date, timedelta
from itertools import islice
from typing import Any, NamedTuple

import icalendar

from daemon.calendar_sources.events import IcalendarEvent, MalformedEvent, event_of
from daemon.calendar_sources.recurrences import expand
from daemon.domain.errors import InvalidInput
from daemon.domain.requests.calendar_body import (
    INVALID_CALENDAR,
    LONGEST_TITLE,
    MOST_CLOSURES,
)
from daemon.domain.requests.fields import Faults, read_zone, shown_value
from daemon.domain.requests.send_window import read_calendar_name
from daemon.domain.schedule.calendars import Calendar

LONGEST_TEXT = 1024 * 1024
"""Maximum bytes of an iCalendar text."""
LONGEST_READING_S = 5.0
"""Seconds after which a text is refused whose recurrences take too long."""
_LEFT_OUT = {"TRANSP": "TRANSPARENT", "STATUS": "CANCELLED"}
_is_content_line = re.compile(r"[A-Za-z0-9-]+[;:]").match


class IcalendarReading(NamedTuple):
    """The calendar, and the number of events that close nothing: free, cancelled or without length.

    Events that lie outside the time that is read are not counted.
    """

    calendar: Calendar
    left_out: int


def read_icalendar(
    name: str,
    raw: bytes,
    today: date,
    timezone: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> IcalendarReading:
    """Return the calendar called `name`, with its events from yesterday to two years ahead.

    Args:
        name: The name of the calendar.
        raw: The iCalendar text.
        today: The present date; what recurs is read up to the same date two years later.
        timezone: The zone of the calendar, instead of the text's own X-WR-TIMEZONE.
        clock: Seconds that pass, by which long readings are ended.

    Raises:
        InvalidInput: 400 for what is no iCalendar or cannot be understood, 413 for too much of it.
    """
    if len(raw) > LONGEST_TEXT:
        raise _refusal(f"text has more than {LONGEST_TEXT} bytes", 413)
    lines = _lines_of(raw)
    try:
        parsed: Any = icalendar.Calendar.from_ical(raw)
    except ValueError as error:
        raise _refusal(f"text is not iCalendar: {str(error)[:200]}") from None
    if parsed.name != "VCALENDAR":
        raise _refusal("line 1 must be BEGIN:VCALENDAR")
    events, left_out = _events_of(parsed, lines)
    zone_name = _zone_of(name, parsed, events, timezone)
    first, last = today - timedelta(days=1), _two_years_after(today)
    ends_at = clock() + LONGEST_READING_S

    def on_step() -> None:
        if clock() > ends_at:
            raise _refusal(f"recurrences take longer than {LONGEST_READING_S:.0f} s to read", 413)

    closed = list(islice(expand(events, first, last, on_step), MOST_CLOSURES + 1))
    if len(closed) > MOST_CLOSURES:
        raise _refusal(f"text has more than {MOST_CLOSURES} entries", 413)
    title = str(parsed.get("NAME") or parsed.get("X-WR-CALNAME") or "")[:LONGEST_TITLE] or None
    covers_to = last if any(event.recurs for event in events) else None
    calendar = Calendar(name, tuple(closed), None, zone_name, title, covers_to)
    return IcalendarReading(calendar, left_out)


def _lines_of(raw: bytes) -> list[str]:
    """Return the lines, each of which begins with a property's name or goes on from the one before.

    Raises:
        InvalidInput: 400 with the number of the line.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(f"text is not UTF-8 at byte {error.start}") from None
    lines = re.split(r"\r?\n|\r", text)
    for number, line in enumerate(lines, 1):
        if line and line[0] not in " \t" and not _is_content_line(line):
            raise _refusal(f"line {number} is {shown_value(line)}, must be NAME:VALUE")
    return lines


def _events_of(parsed: Any, lines: list[str]) -> tuple[list[IcalendarEvent], int]:
    starts = [place for place, line in enumerate(lines) if line.upper() == "BEGIN:VEVENT"]
    events: list[IcalendarEvent] = []
    left_out = 0
    for place, component in enumerate(parsed.walk("VEVENT")):
        try:
            event = event_of(component)
        except MalformedEvent as error:
            start = starts[place] if place < len(starts) else 0
            number = _line_of(lines, start, error.name)
            raise _refusal(f"line {number}: {error}") from None
        closes_nothing = not event.has_length or any(
            str(component.get(name, "")).upper() == word for name, word in _LEFT_OUT.items()
        )
        left_out += closes_nothing
        events.append(event._replace(closes=not closes_nothing))
    return events, left_out


def _line_of(lines: list[str], start: int, name: str) -> int:
    """Return the number of the line of a property in the event that begins at `start`."""
    for place in range(start, len(lines)):
        if lines[place].upper().startswith((f"{name}:", f"{name};")):
            return place + 1
        if lines[place].upper() == "END:VEVENT":
            break
    return start + 1


def _zone_of(
    name: str, parsed: Any, events: list[IcalendarEvent], timezone: str | None
) -> str | None:
    faults = Faults()
    read_calendar_name(faults, "name", name)
    path = "X-WR-TIMEZONE" if timezone is None else "timezone"
    written = parsed.get("X-WR-TIMEZONE") if timezone is None else timezone
    found = None if written is None else read_zone(faults, path, str(written))
    if found is None and not faults and any(event.is_timed for event in events if event.closes):
        faults.add_malformed(
            "timezone", "can't be blank: some events have times, so say in which zone"
        )
    if faults:
        raise faults.to_error(INVALID_CALENDAR)
    return found


def _two_years_after(today: date) -> date:
    try:
        return today.replace(year=today.year + 2)
    except ValueError:  # the 29th of February
        return today.replace(year=today.year + 2, day=28)


def _refusal(detail: str, status: int = 400) -> InvalidInput:
    return InvalidInput(status, INVALID_CALENDAR, detail)
