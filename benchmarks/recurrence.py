"""Measure next occurrences a second and core, for every recurrence of the request bodies.

- following: the occurrence after a given one, which the daemon computes when it claims.
- after: the first occurrence after any instant, as after an edit, a pause or a restart.

Each is measured at several ages of the schedule, because the age must not matter. The zone has
summer time and the time of day is 02:30, so the measured dates include the changes of the clock.
Beside them, `dateutil.rrule` computes the same dates in local time, without a zone.

Usage: python benchmarks/recurrence.py [--seconds S] [--ages 0,5,50] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dateutil.rrule import rrulestr

from daemon.domain.requests import BodyContext, read_schedule_body, read_update_body
from daemon.domain.schedule.rrule import rrule_text
from daemon.domain.schedule.schedule import CampaignType, Schedule

BEGAN = datetime(2001, 1, 3, 12, tzinfo=UTC)
"""The instant at which every schedule was saved."""
ZONE = "America/New_York"
PASSES = 5


def recurring(**config: object) -> dict[str, Any]:
    """Return a body of `schedule`."""
    return {
        "schedule_type": "recurring",
        "recurring_config": {"time": "02:30", "time_zone": ZONE, **config},
    }


def repeating(start: str, **attributes: object) -> dict[str, Any]:
    """Return a body of `update_schedule` for a repeating schedule."""
    return {"startdate": start, "timezone": ZONE, "repeating_schedule_attributes": attributes}


def window(**more: object) -> dict[str, Any]:
    """Return a body of `update_schedule` for a window."""
    return {"startdate": "2001-01-10T02:30", "timezone": ZONE, **more}


CASES: dict[str, dict[str, Any]] = {
    "daily": recurring(frequency="daily"),
    "every 3rd day": recurring(frequency="daily", interval=3),
    "daily on weekdays": recurring(frequency="daily", days_of_week=[1, 2, 3, 4, 5]),
    "every 999th day on a Monday": recurring(frequency="daily", interval=999, days_of_week=[1]),
    "weekly": recurring(frequency="weekly", days_of_week=[3]),
    "2-weekly Mon/Wed/Fri": recurring(frequency="weekly", interval=2, days_of_week=[1, 3, 5]),
    "999-weekly, all days": recurring(
        frequency="weekly", interval=999, days_of_week=[1, 2, 3, 4, 5, 6, 7]
    ),
    "monthly day 15": recurring(frequency="monthly", day_of_month=15),
    "monthly day 31, last instead": recurring(frequency="monthly", day_of_month=31),
    "monthly day 31, or none": recurring(frequency="monthly", day_of_month=31, skip="omit"),
    "29 February, or none": recurring(
        frequency="monthly", interval=12, day_of_month=29, skip="omit"
    )
    | {"scheduled_at": "2004-02-01T02:30"},
    "29 February every 25 years": recurring(
        frequency="monthly", interval=300, day_of_month=29, skip="omit"
    )
    | {"scheduled_at": "2004-02-01T02:30"},
    "yearly (every 12th month)": recurring(frequency="monthly", interval=12, day_of_month=3),
    "every 999th month": recurring(frequency="monthly", interval=999, day_of_month=3),
    "until a date": recurring(frequency="daily", end_date="9000-01-01"),
    "every day of an update": repeating("2001-01-10T02:30", interval_unit="day"),
    "Tue and Thu of every week": repeating(
        "2001-01-10T02:30", interval_unit="week", days_of_week=["tue", "thu"]
    ),
    "nth day 31": repeating("2001-01-31T02:30", interval_unit="month"),
    "2nd Tuesday": repeating("2001-02-13T02:30", interval_unit="month", day_of_month="nth_weekday"),
    "2nd of each weekday": repeating(
        "2001-02-13T02:30",
        interval_unit="month",
        day_of_month="nth_weekday",
        days_of_week=["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    ),
    "5th Wednesday, or the last": repeating(
        "2001-01-31T02:30", interval_unit="month", day_of_month="nth_weekday"
    ),
    "last day of the month": repeating(
        "2001-01-31T02:30", interval_unit="month", day_of_month="last_day"
    ),
    "window, daily": window(recurring_schedule="daily"),
    "window, continuously": window(recurring_schedule="continuously"),
}
WINDOWS = ("window, daily", "window, continuously")


@dataclass(frozen=True)
class Row:
    """One kind of recurrence: occurrences a second, by age in years."""

    name: str
    following: dict[int, float]
    after: dict[int, float]
    rrule: float | None


def schedule_of(name: str) -> Schedule:
    """Return the schedule of a body in `CASES`."""
    body = CASES[name]
    kind = CampaignType.SEGMENT_TRIGGERED if name in WINDOWS else CampaignType.RECURRING
    save = read_schedule_body if "schedule_type" in body else read_update_body
    schedule = save(body, BodyContext(BEGAN, kind, ZONE)).schedule
    assert schedule is not None
    return schedule


def follow(schedule: Schedule, age: int, count: int) -> int:
    """Step from occurrence to occurrence; return the number of steps."""
    event = schedule.event_after(BEGAN + timedelta(days=age * 365.25))
    steps = 0
    while event is not None and steps < count:
        event = schedule.event_following(event)
        steps += 1
    return steps


def find_after(schedule: Schedule, instants: Sequence[datetime]) -> int:
    """Find the first occurrence after each instant; return the number of instants."""
    for instant in instants:
        schedule.event_after(instant)
    return len(instants)


def instants_at(age: int, count: int) -> list[datetime]:
    """Return instants in the year after that age, in random order."""
    chance = random.Random(age)
    first = BEGAN + timedelta(days=age * 365.25)
    return [first + timedelta(seconds=chance.randrange(365 * 86_400)) for _ in range(count)]


def rate(work: Callable[[], int], seconds: float) -> float:
    """Return units a second of processor time: the best pass, because other load only slows."""
    work()
    found = []
    for _ in range(PASSES):
        done, began = 0, time.process_time()
        while (took := time.process_time() - began) < seconds / PASSES:
            done += work()
        found.append(done / took)
    return max(found)


def rrule_rate(schedule: Schedule, seconds: float) -> float | None:
    """Return the rate of `rrule.after` at the age of five years; None without a rule of dates."""
    text, first = rrule_text(schedule), schedule.first_event()
    if text is None or first is None or schedule.every_seconds is not None:
        return None
    rule = rrulestr(text.splitlines()[-1].split(";UNTIL")[0], dtstart=first.local)
    instants = [at.replace(tzinfo=None) for at in instants_at(5, 5)]
    return rate(lambda: sum(rule.after(at) is not None for at in instants), seconds)


def measure(seconds: float, ages: Sequence[int], *, beside: bool = True) -> Iterator[Row]:
    """Measure every kind of recurrence in turn.

    Args:
        seconds: processor seconds for each figure.
        ages: ages of the schedules in years.
        beside: whether rrule is measured as well.
    """
    for name in CASES:
        schedule = schedule_of(name)
        following, after = {}, {}
        for age in ages:
            instants = instants_at(age, 200)
            following[age] = rate(lambda: follow(schedule, age, 200), seconds)  # noqa: B023
            after[age] = rate(lambda: find_after(schedule, instants), seconds)  # noqa: B023
        yield Row(name, following, after, rrule_rate(schedule, seconds) if beside else None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every kind and print the slowest rate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.2, help="for each figure")
    parser.add_argument("--ages", default="0,5,50", help="ages of the schedules in years")
    parser.add_argument("--json", action="store_true", help="print each row as a JSON object")
    given = parser.parse_args(arguments)
    ages = [int(age) for age in given.ages.split(",")]
    if not given.json:
        heads = [f"{kind} {age} y" for kind in ("next", "after") for age in ages]
        print(f"{'a second and core':<30}" + "".join(f"{head:>12}" for head in [*heads, "rrule"]))
    slowest = float("inf")
    for row in measure(given.seconds, ages):
        figures = [*row.following.values(), *row.after.values()]
        slowest = min(slowest, *figures)
        if given.json:
            print(json.dumps(vars(row)), flush=True)
        else:
            beside = "-" if row.rrule is None else f"{row.rrule:.0f}"
            shown = "".join(f"{figure:>12.0f}" for figure in figures)
            print(f"{row.name:<30}{shown}{beside:>12}", flush=True)
    if not given.json:
        print(f"slowest: {slowest:.0f}")


if __name__ == "__main__":
    main()
