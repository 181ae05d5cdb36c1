"""Gates agree with a walk over every minute of a year that shares no code with them.

The walk reads the clock of zoneinfo each quarter of an hour, as no zone's offset changes between
quarters in these years, and marks every minute of UTC as open or closed. Windows over midnight are
marked on the day on which they begin, so the walk needs no arithmetic of weeks.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from functools import cache, reduce
from operator import and_
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest

from daemon.domain.schedule.calendars import Calendar, Closure
from daemon.domain.schedule.clock_changes import LATEST, next_change
from daemon.domain.schedule.gate import Gate
from daemon.domain.schedule.send_window import SendWindow
from daemon.domain.schedule.timezones import zone
from daemon.domain.schedule.weekly_hours import Opening, weekly_hours
from tests.unit.domain.schedule.schedules import recurring

ZONES = [
    "UTC", "America/New_York", "Europe/London", "Australia/Lord_Howe", "America/Nuuk",
    "Africa/Casablanca", "Asia/Gaza", "Africa/Cairo", "America/St_Johns", "Antarctica/Troll",
    "Pacific/Apia", "America/Havana",
]  # fmt: skip
YEARS = {"Pacific/Apia": 2011, "Asia/Gaza": 2011}
"""Apia left out a day; Gaza changed its clock four times."""
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
MARGIN = 8
"""Days before and after the year that are marked as well."""


class Case(NamedTuple):
    """What is open, as numbers."""

    openings: list[Opening]
    openings_zone: str
    calendar_openings: list[Opening]
    closures: list[Closure]
    calendar_zone: str | None
    excluded: list[date]


def draw(seed: int, timezone: str, year: int) -> Case:
    chance = random.Random(f"{seed} {timezone}")

    def openings(most: int) -> list[Opening]:
        drawn = []
        for _ in range(chance.randint(0, most)):
            days = tuple(sorted(chance.sample(range(1, 8), chance.randint(1, 7))))
            start, end = chance.sample(range(0, 1440, chance.choice([1, 5, 30])), 2)
            drawn.append(Opening(days, start, chance.choice([end, 1440])))
        return drawn

    first = datetime(year, 1, 1)  # noqa: DTZ001
    closures: list[Closure] = []
    calendar_zone = chance.choice([None, timezone, chance.choice(ZONES)])
    for _ in range(chance.randint(0, 30)):
        start = first + chance.randint(0, 365 * 1440) * MINUTE
        end = start + chance.choice([30, 60, 90, 24 * 60, 10_000]) * MINUTE
        kind = chance.choice(["date", "local", "instant" if calendar_zone else "date"])
        if kind == "date":
            closures.append(Closure(start.date(), (start + chance.randint(0, 3) * DAY).date()))
        elif kind == "local":
            closures.append(Closure(start, end))
        else:
            closures.append(Closure(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC)))
    excluded = [(first + chance.randint(0, 364) * DAY).date() for _ in range(chance.randint(0, 9))]
    return Case(
        openings(4),
        chance.choice([timezone, timezone, *ZONES]),
        openings(2),
        closures,
        calendar_zone,
        sorted(set(excluded)),
    )


def build(case: Case, timezone: str) -> Gate:
    calendar = Calendar(
        "x",
        tuple(case.closures),
        weekly_hours(case.calendar_openings) if case.calendar_openings else None,
        case.calendar_zone,
    )
    window = SendWindow(
        weekly_hours(case.openings) if case.openings else None,
        ("x",),
        tuple(case.excluded),
        case.openings_zone,
    )
    return Gate(recurring(timezone, "2031-01-01T09:00"), window, {"x": calendar})


class Walk:
    """Every minute of a year of UTC, 1 where it is open."""

    def __init__(self, case: Case, timezone: str, year: int) -> None:
        self.start = datetime(year, 1, 1, tzinfo=UTC) - MARGIN * DAY
        self.minutes = (365 + 2 * MARGIN) * 1440
        closed_dates = [each for each in case.closures if not isinstance(each.start, datetime)]
        times = [each for each in case.closures if isinstance(each.start, datetime)]
        calendar_zone = case.calendar_zone or timezone
        parts = [
            self.read(case.openings_zone, marks_of_openings(self.dates(), case.openings)),
            self.read(calendar_zone, marks_of_openings(self.dates(), case.calendar_openings)),
            self.read(timezone, marks_of_dates(self.dates(), set(case.excluded))),
            self.read(
                calendar_zone,
                marks_of_dates(
                    self.dates(),
                    {
                        each.start + number * DAY
                        for each in closed_dates
                        for number in range((each.end - each.start).days + 1)
                    },
                ),
            ),
        ]
        local = bytearray(b"\1" * len(self.dates()) * 1440)
        direct = bytearray(b"\1" * self.minutes)
        zero = datetime.combine(self.dates()[0], datetime.min.time())
        for start, end, _ in times:
            assert isinstance(start, datetime)
            assert isinstance(end, datetime)
            marks, origin = (local, zero) if start.tzinfo is None else (direct, self.start)
            first = max((start - origin) // MINUTE, 0)
            last = max((end - origin) // MINUTE, 0)
            marks[first:last] = b"\0" * (last - first)
        parts += [self.read(calendar_zone, local), bytes(direct[: self.minutes])]
        together = reduce(and_, (int.from_bytes(part) for part in parts))
        self.open = together.to_bytes(self.minutes)

    def dates(self) -> list[date]:
        first = self.start.date() - 2 * DAY
        return [first + number * DAY for number in range(365 + 2 * MARGIN + 5)]

    def read(self, timezone: str, marks: bytes | bytearray) -> bytes:
        """Return the marks of local minutes for the minutes of UTC, by what the clock reads."""
        zero = datetime.combine(self.dates()[0], datetime.min.time())
        places = read_places(timezone, self.start, zero, self.minutes // 15)
        return b"".join([marks[place : place + 15] for place in places])


@cache
def read_places(timezone: str, start: datetime, zero: datetime, quarters: int) -> list[int]:
    """Return the minute that a zone's clock reads, counted from `zero`, for quarters of UTC."""
    in_zone = ZoneInfo(timezone)
    return [
        ((start + number * 15 * MINUTE).astimezone(in_zone).replace(tzinfo=None) - zero) // MINUTE
        for number in range(quarters)
    ]


def marks_of_openings(dates: list[date], openings: list[Opening]) -> bytes:
    if not openings:
        return b"\1" * len(dates) * 1440
    marks = bytearray((len(dates) + 1) * 1440)
    for number, day in enumerate(dates):
        for days, start, end in openings:
            if day.isoweekday() in days:
                length = end - start if end > start else end - start + 1440
                begin = number * 1440 + start
                marks[begin : begin + length] = b"\1" * length
    return bytes(marks)


def marks_of_dates(dates: list[date], closed: set[date]) -> bytes:
    return b"".join((b"\0" if day in closed else b"\1") * 1440 for day in dates)


@pytest.mark.parametrize("timezone", ZONES)
def test_the_open_times_of_a_year_are_those_of_the_walk(timezone: str) -> None:
    """Each opening and each closing, with every kind of condition."""
    year = YEARS.get(timezone, 2026)
    for seed in range(4):
        case = draw(seed, timezone, year)
        walk, found = Walk(case, timezone, year), build(case, timezone)
        place, at = MARGIN * 1440, datetime(year, 1, 1, tzinfo=UTC)
        last = at + 365 * DAY
        while True:
            opening = found.opening(at, last)
            place = walk.open.find(1, place)
            expected = walk.start + place * MINUTE
            if place < 0 or expected > last:
                assert opening is None, (seed, case)
                break
            assert opening == expected, (seed, case)
            place = walk.open.find(0, place)
            until = found.open_until(opening)
            if place < 0 or until is None or until > last:
                assert place < 0 or walk.start + place * MINUTE > last, (seed, case)
                break
            assert until == walk.start + place * MINUTE, (seed, case)
            at = until


@pytest.mark.parametrize("timezone", ZONES)
def test_an_opening_from_any_instant_is_that_of_the_walk(timezone: str) -> None:
    """Also within open times, and at odd seconds."""
    year, chance = YEARS.get(timezone, 2026), random.Random(timezone)
    for seed in range(4, 6):
        case = draw(seed, timezone, year)
        walk, found = Walk(case, timezone, year), build(case, timezone)
        last = datetime(year + 1, 1, 1, tzinfo=UTC)
        for _ in range(500):
            second = chance.randrange(365 * 86_400)
            at = datetime(year, 1, 1, tzinfo=UTC) + timedelta(seconds=second, microseconds=1)
            place = (at - walk.start) // MINUTE
            if walk.open[place]:
                assert found.opening(at, last) == at, (seed, case, at)
                continue
            place = walk.open.find(1, place)
            expected = walk.start + place * MINUTE
            assert found.opening(at, last) == (
                None if place < 0 or expected > last else expected
            ), (seed, case, at)


@pytest.mark.parametrize("timezone", ZONES)
def test_a_clock_runs_evenly_up_to_its_next_change(timezone: str) -> None:
    """The changes of five years are where the offset of zoneinfo changes, to the second."""
    in_zone, end = zone(timezone), datetime(2014, 1, 1, tzinfo=UTC)
    hour = datetime(2009, 1, 1, tzinfo=UTC)
    at, found = hour, []
    while (at := next_change(in_zone, at)) < end:
        if offset(at, in_zone) != offset(at - SECOND, in_zone):
            found.append(at)
    changed = []
    while hour < end:
        if offset(hour, in_zone) != offset(hour - 60 * MINUTE, in_zone):
            changed.append(hour)
        hour += 60 * MINUTE
    assert [each + -(each - hour) % (60 * MINUTE) for each in found] == changed
    assert next_change(in_zone, LATEST) == LATEST


def offset(at: datetime, in_zone: ZoneInfo) -> timedelta | None:
    return at.astimezone(in_zone).utcoffset()
