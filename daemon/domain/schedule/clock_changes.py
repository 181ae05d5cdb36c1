"""Clock changes of a zone: when its offset from UTC changes, and the local times that this affects.

zoneinfo has no list of them, so offsets are compared day by day: no zone has ever changed its
offset twice within three days. The changes of a zone and a year are kept, because every preview
asks for those of the coming year. Between two changes a clock runs evenly, so that a gate (`gate`)
computes by addition when a clock will read a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from daemon.domain.schedule.timezones import zone

LATEST = datetime.max.replace(tzinfo=UTC)
_KEPT_YEARS = 2048
"""Maximum years of zones whose changes are kept; a year of changes takes about 500 bytes."""
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class ClockChange(NamedTuple):
    """A change of offset at a UTC instant; `start` to `end` are the affected naive local times.

    `end` is not affected any more. A gap skips the times, an overlap repeats them.
    """

    at: datetime
    is_gap: bool
    start: datetime
    end: datetime


def clock_changes(timezone: str, after: datetime, until: datetime) -> Iterator[ClockChange]:
    """Yield the changes with after < `at` <= until, in order, within the years 2 to 9998."""
    for year in range(max(after.year, 2), min(until.year, 9998) + 1):
        for change in _changes_of(timezone, year):
            if after < change.at <= until:
                yield change


def next_change(in_zone: ZoneInfo, at: datetime) -> datetime:
    """Return a UTC instant after `at` up to which the zone's clock runs evenly.

    The instant is the next change. Where neither this year nor the next one has any, it is the end
    of the next year.
    """
    bounds = _bounds_of(in_zone.key, at.year)
    return bounds[bisect_right(bounds, at)] if at < LATEST else LATEST


@lru_cache(_KEPT_YEARS)
def _bounds_of(timezone: str, year: int) -> tuple[datetime, ...]:
    """Return the changes within a year of UTC, and the bound that follows them."""
    changes, later = (
        tuple(change.at for change in _changes_of(timezone, each)) if 1 < each < 9999 else ()
        for each in (year, year + 1)
    )
    end = datetime(year + 2, 1, 1, tzinfo=UTC) if year < 9998 else LATEST
    return (*changes, (*later, end)[0])


@lru_cache(_KEPT_YEARS)
def _changes_of(timezone: str, year: int) -> tuple[ClockChange, ...]:
    in_zone = zone(timezone)
    low, end = datetime(year, 1, 1, tzinfo=UTC) - _SECOND, datetime(year + 1, 1, 1, tzinfo=UTC)
    before = _offset(low, in_zone)
    found = []
    while low < end - _SECOND:
        high = min(low + _DAY, end - _SECOND)
        after = _offset(high, in_zone)
        if after != before:
            found.append(_change_between(low, high, in_zone))
        low, before = high, after
    return tuple(found)


def _change_between(low: datetime, high: datetime, in_zone: ZoneInfo) -> ClockChange:
    """Return the change after `low` and at or before `high`, which is at a whole second."""
    before, after = _offset(low, in_zone), _offset(high, in_zone)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(middle, in_zone) == before:
            low = middle
        else:
            high = middle
    naive = high.replace(tzinfo=None)
    start, end = sorted((naive + before, naive + after))
    return ClockChange(high, after > before, start, end)


def _offset(instant: datetime, in_zone: ZoneInfo) -> timedelta:
    return instant.astimezone(in_zone).utcoffset() or timedelta(0)
