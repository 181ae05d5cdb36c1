"""Occurrences derived by python-dateutil, independently of the domain's arithmetic.

The auditor compares them for one campaign in a hundred. python-dateutil steps through every
occurrence since the schedule's start, so old schedules are left out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from daemon.domain.schedule.rrule import rrule_text
from daemon.domain.schedule.schedule import Schedule
from daemon.domain.schedule.timezones import zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

MOST_STEPS = 20_000
"""Maximum occurrences between the schedule's start and the end of the derivation."""
_MARGIN = timedelta(days=2)
"""More than any difference between a zone's wall-clock time and UTC."""


def derive_occurrences(
    schedule: Schedule, after: datetime, until: datetime
) -> list[datetime] | None:
    """Return the occurrences after an instant and until another; None where it would take long.

    Args:
        schedule: of the occurrences.
        after: excluded.
        until: included.
    """
    if not schedule.has_fires or schedule.dst is not None:
        return None
    step = schedule.every_seconds or 86_400
    if until - schedule.anchor_at > timedelta(seconds=step) * MOST_STEPS:
        return None
    text = rrule_text(schedule)
    if text is None:
        return None
    # Imported here: most nodes derive only now and then.
    from dateutil.rrule import rrulestr

    start, _, rule = text.partition("\n")
    local, in_zone = _start_from(start)
    # The rule is expanded in wall-clock time; only the last step asks the zone.
    rule, _, end = rule.removeprefix("RRULE:").partition(";UNTIL=")
    last = until if not end else min(until, _instant_from(end))
    naive_last = last.astimezone(UTC).replace(tzinfo=None) + _MARGIN
    found = []
    for each in rrulestr(rule, dtstart=local).xafter(_naive(after), inc=True):
        if each > naive_last:
            break
        at = each.replace(tzinfo=in_zone).astimezone(UTC)
        if after < at <= last:
            found.append(at)
    return found


def _naive(after: datetime) -> datetime:
    try:
        return after.astimezone(UTC).replace(tzinfo=None) - _MARGIN
    except OverflowError:
        return datetime.min  # noqa: DTZ901 - wall-clock time


def _start_from(line: str) -> tuple[datetime, ZoneInfo]:
    """Return the wall-clock time and the zone of a DTSTART line."""
    name, _, value = line.partition(":")
    local = datetime.fromisoformat(value.removesuffix("Z"))
    return local, zone(name.partition(";TZID=")[2] or "UTC")


def _instant_from(value: str) -> datetime:
    return datetime.strptime(value, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
