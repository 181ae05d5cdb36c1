"""The occurrences of many schedules in periods, compared with a list of each schedule's own."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

import pytest

from daemon.domain.schedule.expansion import expand
from daemon.domain.schedule.recurrence import Frequency, Rule
from daemon.domain.schedule.schedule import Kind, Schedule, ScheduleSource
from daemon.domain.schedule.timezones import resolve, zone

START = datetime(2026, 10, 20, tzinfo=UTC)
BOUNDS = [START + timedelta(days=number) for number in range(31)]


def at(day: int, hour: int = 9, minute: int = 0, month: int = 10) -> datetime:
    """Return a wall-clock time of 2026."""
    return datetime.combine(date(2026, month, day), time(hour, minute))


def schedule(zone_name: str = "Europe/Paris", **values: Any) -> Schedule:
    """Return a schedule that begins on 1 October 2026 at 09:00."""
    made = {"kind": Kind.RECURRING, "anchor_local": at(1), **values}
    anchor = resolve(made["anchor_local"], zone(zone_name))
    return Schedule(ScheduleSource.SCHEDULE, timezone=zone_name, anchor_at=anchor, **made)


def rule(frequency: Frequency, interval: int = 1, clock: time = time(9), **values: Any) -> Rule:
    """Return a rule from 1 October 2026 on, which is a Thursday."""
    return Rule(frequency, interval, date(2026, 10, 1), clock, **values)


SCHEDULES = {
    "daily": schedule(rule=rule(Frequency.DAILY)),
    "daily, in the hour that comes twice": schedule(
        rule=rule(Frequency.DAILY, clock=time(2, 30)), anchor_local=at(1, 2, 30)
    ),
    "every third day": schedule("Asia/Tokyo", rule=rule(Frequency.DAILY, 3)),
    "weekly": schedule(rule=rule(Frequency.WEEKLY, weekdays=(1, 4, 7))),
    "every second week": schedule(rule=rule(Frequency.WEEKLY, 2, weekdays=(4,))),
    "monthly": schedule(rule=rule(Frequency.MONTHLY, month_day=1)),
    "monthly by weekday": schedule(rule=rule(Frequency.MONTHLY, nth=1, weekdays=(4,))),
    "ended": schedule(rule=rule(Frequency.DAILY), ends_at=START - timedelta(days=1)),
    "ends within": schedule(rule=rule(Frequency.DAILY), ends_at=START + timedelta(days=3)),
    "begins within": schedule(
        rule=Rule(Frequency.DAILY, 1, date(2026, 11, 10), time(9)),
        anchor_local=at(10, month=11),
    ),
    "once": schedule(kind=Kind.ONCE, anchor_local=at(3, 12, month=11)),
    "once before": schedule(kind=Kind.ONCE),
    "continuous": schedule(kind=Kind.WINDOW, every_seconds=7 * 60),
    "continuous, seldom": schedule(kind=Kind.WINDOW, every_seconds=3 * 86_400),
    "continuous, until": schedule(
        kind=Kind.WINDOW, every_seconds=60, ends_at=START + timedelta(days=2, hours=1)
    ),
    "window without runs": schedule(kind=Kind.WINDOW),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("begin", [START - timedelta(days=99), START + timedelta(days=8, hours=5)])
def test_each_period_has_the_occurrences_of_the_schedule(name: str, begin: datetime) -> None:
    subject = SCHEDULES[name]
    listed = subject.occurrences(max(begin, START) - timedelta(microseconds=1), 50_000)
    wanted = [[each for each in listed if start <= each < end] for start, end in pairwise(BOUNDS)]
    found = expand([(7, subject, begin)], BOUNDS, 2)
    assert [period.count for period in found] == [len(each) for each in wanted]
    for period, each in zip(found, wanted, strict=True):
        assert [item.at for item in period.first] == each[: len(period.first)]
        assert period.further == len(each) - sum(item.times for item in period.first)


def test_the_first_of_several_schedules_come_in_order_of_time() -> None:
    subjects = [
        (number, schedule(rule=rule(Frequency.DAILY, clock=time(hour))), START)
        for number, hour in enumerate((9, 5, 7, 5))
    ]
    (day,) = expand(subjects, BOUNDS[3:5], 3)
    assert day.count == 4
    assert [each.campaign_id for each in day.first] == [1, 3, 2]
    assert day.further == 1


def test_periods_may_have_different_lengths() -> None:
    bounds = [START, START + timedelta(hours=9), START + timedelta(days=30)]
    found = expand([(1, SCHEDULES["daily"], START)], bounds, 0)
    assert Counter(period.count for period in found) == Counter([1, 29])
