"""The occurrences of many schedules in periods of time, such as the days of a month.

Occurrences of a rule are listed one by one. Those of a continuous window, of which a day can have
thousands, are counted by arithmetic.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nsmallest
from itertools import pairwise
from typing import NamedTuple

from daemon.domain.schedule.recurrence import Frequency, Rule
from daemon.domain.schedule.schedule import EventKind, Schedule, TimedEvent

_INSTANT = timedelta(microseconds=1)


class ExpandedOccurrence(NamedTuple):
    """An occurrence of a campaign; `times` is above 1 for those of one window in one period."""

    at: datetime
    campaign_id: int
    times: int


@dataclass(frozen=True, slots=True)
class Period:
    """What falls into one period: the number of occurrences, and the first ones."""

    count: int
    first: tuple[ExpandedOccurrence, ...]

    @property
    def further(self) -> int:
        """The number of occurrences that are not among the first ones."""
        return self.count - sum(each.times for each in self.first)


def expand(
    schedules: Iterable[tuple[int, Schedule, datetime]], bounds: Sequence[datetime], keep: int
) -> list[Period]:
    """Return the periods between two bounds each.

    Args:
        schedules: campaign ids, each with its schedule and the instant before which no occurrence
            is to come.
        bounds: aware instants in ascending order; a period begins with the one and ends before the
            next.
        keep: the number of first occurrences to list in each period.
    """
    counts = [0] * (len(bounds) - 1)
    found: list[list[ExpandedOccurrence]] = [[] for _ in counts]
    for campaign_id, schedule, begin in schedules:
        if schedule.every_seconds is not None:
            for index, times, at in _ticks(schedule, begin, bounds):
                counts[index] += times
                found[index].append(ExpandedOccurrence(at, campaign_id, times))
            continue
        for at in _fires(schedule, max(begin, bounds[0]), bounds[-1]):
            index = bisect_right(bounds, at) - 1
            counts[index] += 1
            found[index].append(ExpandedOccurrence(at, campaign_id, 1))
    return [
        Period(count, tuple(nsmallest(keep, each)))
        for count, each in zip(counts, found, strict=True)
    ]


def _fires(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the occurrences of a one-off or a rule from `start` to before `end`."""
    if not schedule.has_fires or (schedule.ends_at is not None and schedule.ends_at < start):
        return
    if schedule.rule is None:
        if start <= schedule.anchor_at < end:
            yield schedule.anchor_at
        return
    if schedule.anchor_at >= end:
        return
    for at in schedule.occurrences(start - _INSTANT, _most_in(schedule.rule, end - start)):
        if at >= end:
            return
        yield at


def _most_in(rule: Rule, length: timedelta) -> int:
    """Return a number of occurrences that a rule does not exceed in a length of time."""
    days = length.days + 2
    match rule.frequency:
        case Frequency.DAILY:
            return days // rule.interval + 2
        case Frequency.WEEKLY:
            return (days // (7 * rule.interval) + 2) * len(rule.weekdays)
        case Frequency.MONTHLY:
            return (days // (28 * rule.interval) + 2) * max(1, len(rule.weekdays))


def _ticks(
    schedule: Schedule, begin: datetime, bounds: Sequence[datetime]
) -> Iterator[tuple[int, int, datetime]]:
    """Yield the index, the count and the first tick of each period with ticks of a window."""
    for index, (start, end) in enumerate(pairwise(bounds)):
        times = schedule.occurrences(max(begin, start) - _INSTANT, 1)
        if not times or times[0] >= end:
            continue
        last = schedule.latest_fire(end - _INSTANT)
        assert last is not None
        first = TimedEvent(EventKind.FIRE, times[0], last.local)
        yield index, schedule.count_fires(first, last), times[0]
