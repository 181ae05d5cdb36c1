"""The JSON body of a shared calendar.

The API and the command that save a calendar will call `read_calendar`; a stored calendar is read
again by it. Other sources (`daemon.calendar_sources`) make the same value.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from daemon.domain.requests.declaration import Body, Items, declare_field
from daemon.domain.requests.fields import Faults, require_object
from daemon.domain.requests.forms import DATE, DATETIME, ZONE, text_form
from daemon.domain.requests.send_window import OPEN, HoursConfig, hours_of, read_calendar_name
from daemon.domain.schedule.calendars import Calendar, Closure

INVALID_CALENDAR = "Invalid calendar"
MOST_CLOSURES = 10_000
LONGEST_TITLE = 200
LONGEST_LABEL = 100


class ClosureConfig(NamedTuple):
    """A time in which the calendar is closed: on a date, from one date to another, or a span.

    A span without offset is read off the calendar's clock.
    """

    on: date | None = declare_field(DATE)
    from_: date | None = declare_field(DATE)
    to: date | None = declare_field(DATE, doc="Included.")
    start: datetime | None = declare_field(DATETIME)
    end: datetime | None = declare_field(DATETIME, doc="Not included.")
    label: str | None = declare_field(text_form(LONGEST_LABEL))


def _check_closure(faults: Faults, path: str, closure: ClosureConfig) -> None:
    names = ("on", "from", "to", "start", "end")
    given = {name for name, value in zip(names, closure, strict=False) if value is not None}
    start, end = closure.start, closure.end
    if given not in ({"on"}, {"from", "to"}, {"start", "end"}):
        faults.add_malformed(path, "must have on, or from and to, or start and end")
    elif closure.from_ and closure.to and closure.to < closure.from_:
        faults.add_unsupported(
            f"{path}.to", f"is {closure.to}, before from, which is {closure.from_}"
        )
    elif start and end and (start.tzinfo is None) != (end.tzinfo is None):
        faults.add_malformed(path, "must have an offset in both start and end, or in neither")
    elif start and end and end <= start:
        faults.add_unsupported(f"{path}.end", f"is {end.isoformat()}, must be after start")


class CalendarConfig(NamedTuple):
    """A named gate that many schedules share. Without `timezone`, its clock is the schedule's."""

    title: str | None = declare_field(text_form(LONGEST_TITLE))
    timezone: str | None = declare_field(ZONE)
    open: tuple[HoursConfig, ...] = declare_field(OPEN, default=())
    closed: tuple[ClosureConfig, ...] = declare_field(
        Items(Body(ClosureConfig, check=_check_closure), "closures", 0, MOST_CLOSURES), default=()
    )
    covers_to: date | None = declare_field(
        DATE, doc="The last date for which the source of the calendar has entries."
    )


CALENDAR = Body(CalendarConfig)


def read_calendar(name: str, body: object) -> Calendar:
    """Return the calendar called `name` of a JSON body.

    Raises:
        InvalidInput: 400 with all faults.
    """
    faults = Faults()
    read_calendar_name(faults, "name", name)
    config = CALENDAR.read_fields(faults, require_object(body, INVALID_CALENDAR))
    closures = [] if faults else _closures_of(faults, config)
    if faults:
        raise faults.to_error(INVALID_CALENDAR)
    return Calendar(
        name,
        tuple(closures),
        hours_of(config.open),
        config.timezone,
        config.title,
        config.covers_to,
    )


def _closures_of(faults: Faults, config: CalendarConfig) -> list[Closure]:
    found = []
    for place, closure in enumerate(config.closed):
        start: Any = closure.start or closure.on or closure.from_
        end: Any = closure.end or closure.on or closure.to
        if closure.start is not None and closure.start.tzinfo is not None:
            path = f"closed[{place}].start"
            if config.timezone is None:
                faults.add_unsupported(path, "has an offset, so the calendar must have a timezone")
                break
            try:
                start, end = start.astimezone(UTC), end.astimezone(UTC)
            except OverflowError:
                faults.add_unsupported(path, "is in UTC outside the years 1 to 9999")
                break
        found.append(Closure(start, end, closure.label))
    return found
