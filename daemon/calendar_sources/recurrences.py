"""The occurrences of iCalendar events as closures; only `icalendar_text` uses this module.

Recurrences are expanded by `dateutil.rrule` in wall-clock time, as RFC 5545 has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from dateutil.rrule import rrulestr

from daemon.calendar_sources.events import IcalendarEvent
from daemon.domain.schedule.calendars import Closure

_TICK = timedelta(microseconds=1)


def expand(
    events: list[IcalendarEvent], first: date, last: date, on_step: Callable[[], None]
) -> Iterator[Closure]:
    """Yield the closures of all events that touch the dates from `first` to `last`.

    `on_step` is called for every event and every step of its recurrence; it may end a long reading
    by an exception.
    """
    replaced = {
        (event.uid, _instant(event.replaces, event.in_zone))
        for event in events
        if event.replaces is not None
    }
    for event in events:
        on_step()
        if not event.closes:
            continue
        for start in _starts(event, first, last, on_step):
            is_replaced = (event.uid, _instant(start, event.in_zone)) in replaced
            if event.replaces is not None or not is_replaced:
                yield _closure(event, start)


def _starts(
    event: IcalendarEvent, first: date, last: date, on_step: Callable[[], None]
) -> Iterator[datetime]:
    """Yield the starts of an event's occurrences that touch the dates."""
    lowest = datetime.combine(first, time()) - event.length
    highest = datetime.combine(last, time.max)
    found = {event.start, *event.extra}
    for rule in event.rules:
        for start in rrulestr(rule, dtstart=event.start):
            on_step()
            if start > highest:
                break
            if start > lowest:
                found.add(start)
    for start in sorted(found - event.excluded):
        if lowest < start <= highest and start.date() not in event.excluded_dates:
            yield start


def _closure(event: IcalendarEvent, start: datetime) -> Closure:
    end = start + event.length
    if not event.is_timed:
        return Closure(start.date(), (end - _TICK).date(), event.label)
    if event.in_zone is None:
        return Closure(start, end, event.label)
    return Closure(_instant(start, event.in_zone), _instant(end, event.in_zone), event.label)


def _instant(local: datetime, in_zone: tzinfo | None) -> datetime:
    """Return the UTC instant of a wall-clock time; as it is, where it has no zone."""
    return local if in_zone is None else local.replace(tzinfo=in_zone).astimezone(UTC)
