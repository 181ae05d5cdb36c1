"""Weekly hours: the times of the week at which a clock may read for the gate to be open.

`send_window.open` and the `open` of a calendar are weekly hours (`daemon.domain.requests.hours`
reads both). The gate (`gate`) asks whether a clock's reading lies within them. Hours are about
readings, not instants, so this module knows no zone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

DAY = 24 * 60
"""Minutes of a day."""
WEEK = 7 * DAY


class Opening(NamedTuple):
    """One entry of weekly hours.

    `days` are ISO weekdays (Monday 1). `start` and `end` are minutes since midnight; the start is
    included, the end is not. An `end` before the `start` is on the day after.
    """

    days: tuple[int, ...]
    start: int
    end: int


class WeeklyHours(NamedTuple):
    """The union of openings, as minutes since Monday 00:00 at which the hours begin and end.

    Beginnings and ends alternate, in order.
    """

    bounds: tuple[int, ...]

    def find(self, reading: datetime) -> tuple[bool, timedelta]:
        """Return whether the hours include a naive reading, and how long that remains so.

        The length is what an even clock needs to the next bound. What follows it may be the same
        where one week ends and the next one begins.
        """
        bounds = self.bounds
        minute = (reading.weekday() * 24 + reading.hour) * 60 + reading.minute
        place = bisect_right(bounds, minute)
        following = bounds[place] if place < len(bounds) else bounds[0] + WEEK
        ahead = timedelta(
            minutes=following - minute,
            seconds=-reading.second,
            microseconds=-reading.microsecond,
        )
        return place % 2 == 1, ahead


def weekly_hours(openings: Iterable[Opening]) -> WeeklyHours:
    """Return the union of at least one opening."""
    spans: list[tuple[int, int]] = []
    for days, start, end in openings:
        length = end - start if end > start else end - start + DAY
        for day in days:
            begin = (day - 1) * DAY + start
            spans.append((begin, min(begin + length, WEEK)))
            if begin + length > WEEK:  # from Sunday into Monday
                spans.append((0, begin + length - WEEK))
    bounds: list[int] = []
    for begin, finish in sorted(spans):
        if bounds and begin <= bounds[-1]:
            bounds[-1] = max(bounds[-1], finish)
        else:
            bounds += begin, finish
    return WeeklyHours(tuple(bounds))
