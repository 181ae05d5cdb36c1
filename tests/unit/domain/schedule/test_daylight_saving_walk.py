"""Schedules with a policy agree with a walk over every minute that shares no code with them.

The walk asks zoneinfo only for the wall-clock time of instants. It finds each local time that no
minute shows, or that two minutes show, without `fold`.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from daemon.domain.schedule.clock_changes import clock_changes
from daemon.domain.schedule.daylight_saving import DaylightSaving, Fold, Gap
from daemon.domain.schedule.dst_affected import dst_affected, gap_cause
from daemon.domain.schedule.schedule import Schedule, TimedEvent
from tests.unit.domain.schedule.schedules import by_policy

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
POLICIES = [DaylightSaving(gap, fold) for gap in Gap for fold in Fold]
ZONES = {
    "America/New_York": [2026, 1974, 2007],
    "Australia/Lord_Howe": [2026, 1981, 2008],  # half an hour, and an hour before
    "Antarctica/Troll": [2026, 2005, 2015],  # two hours
    "Europe/Dublin": [2026, 1968, 1971],  # negative DST
    "Africa/Casablanca": [2026, 2012, 2018],  # negative DST, for a month of the moon
    "Africa/Windhoek": [1994, 2010, 2017],  # negative DST, then none
    "Pacific/Apia": [2011, 2010, 2021],  # no 30 December 2011
    "Pacific/Kwajalein": [1993, 1969, 2026],  # no 21 August 1993; 23 hours twice in 1969
    "America/Nuuk": [2024, 2023, 2026],  # a gap before midnight
    "America/St_Johns": [2006, 1988, 2026],  # a minute past midnight; two hours in 1988
    "Asia/Beirut": [2026, 1993, 2010],  # at midnight
    "Europe/London": [1947, 1968, 2026],  # double summer time
}
"""Zones, with the years that are walked: the first one always, the others among the slow tests."""


class Walk:
    """A year of a zone, minute by minute."""

    def __init__(self, timezone: str, year: int) -> None:
        self.timezone, self.year = timezone, year
        self.zone = ZoneInfo(timezone)
        self.shown: dict[datetime, tuple[datetime, datetime]] = {}
        """Of each local time that is shown twice: its instants by the offsets before and after."""
        self.skipped: dict[datetime, tuple[datetime, datetime]] = {}
        """The same of each local time that is not shown."""
        self.offsets: set[timedelta] = set()
        offset: timedelta | None = None
        # Two datetimes of one zone differ by what they read, whatever their offsets are.
        utc = datetime(year, 1, 1, tzinfo=self.zone) - 2 * DAY
        while utc.year <= year:
            read = self.zone.fromutc(utc) - utc
            if read != offset:
                if offset is not None:
                    self._note(utc.replace(tzinfo=UTC), offset, read)
                self.offsets.add(read)
                offset = read
            utc += MINUTE

    def _note(self, instant: datetime, before: timedelta, after: timedelta) -> None:
        """Note the local times that are skipped or shown twice when the offset changes."""
        wall = instant.replace(tzinfo=None)
        for number in range(abs(after - before) // MINUTE):
            local = wall + min(before, after) + number * MINUTE
            both = local.replace(tzinfo=UTC) - before, local.replace(tzinfo=UTC) - after
            if after > before:
                self.skipped[local] = both
            else:
                self.shown[local] = both

    def instants(self, local: datetime, policy: DaylightSaving) -> tuple[datetime, ...]:
        if local in self.skipped:
            shifted, earlier = self.skipped[local]
            return (earlier if policy.gap is Gap.BEFORE else shifted,)
        if local in self.shown:
            wanted = {Fold.FIRST: slice(1), Fold.SECOND: slice(1, 2), Fold.BOTH: slice(2)}
            return self.shown[local][wanted[policy.fold]]
        for offset in self.offsets:
            instant = local.replace(tzinfo=UTC) - offset
            if instant.astimezone(self.zone).replace(tzinfo=None) == local:
                return (instant,)
        raise AssertionError(f"{local} is neither shown nor skipped")

    def daily(self, at: time, policy: DaylightSaving) -> list[tuple[datetime, datetime]]:
        """Return instant and local time of a daily recurrence, later and later."""
        fires: list[tuple[datetime, datetime]] = []
        day = date(self.year, 1, 3)
        while day < date(self.year + 1, 1, 1):
            local = datetime.combine(day, at)
            for instant in self.instants(local, policy):
                if not fires or instant > fires[-1][0]:
                    fires.append((instant, local))
            day += DAY
        return fires

    def times(self, seed: int) -> list[time]:
        """Return times of day: at and beside the edges of what is odd, within it, and others."""
        odd = sorted({local.replace(second=0) for local in (*self.shown, *self.skipped)})
        edges = [
            local + step
            for one, next_one in pairwise([*odd[:1], *odd, *odd[-1:]])
            if next_one - one != MINUTE
            for local in (one, next_one)
            for step in (-MINUTE, timedelta(0), MINUTE)
        ]
        draw = random.Random(seed)
        within = draw.sample(odd, min(4, len(odd)))
        return [*dict.fromkeys(local.time() for local in (*edges, *within)), time(9, 0)]


CASES = [
    pytest.param(
        timezone, year, id=f"{timezone} {year}", marks=() if year == years[0] else pytest.mark.slow
    )
    for timezone, years in ZONES.items()
    for year in years
]


@pytest.mark.parametrize(("timezone", "year"), CASES)
def test_a_daily_recurrence_agrees_with_a_walk(timezone: str, year: int) -> None:
    walk = Walk(timezone, year)
    assert walk.shown or walk.skipped or year in (2010, 2021, 2026)
    _compare_changes(walk)
    draw = random.Random(year)
    start = f"{year}-01-03T00:00"
    for at in walk.times(year):
        for policy in draw.sample(POLICIES, 2):
            expected = walk.daily(at, policy)
            found = by_policy(timezone, policy, at.isoformat(), start=start)
            found = found._replace(ends_at=expected[-1][0])
            _compare(found, expected, draw)
            _compare_affected(found, walk, policy, expected)


def _compare(
    found: Schedule, expected: list[tuple[datetime, datetime]], draw: random.Random
) -> None:
    instants = [instant for instant, _ in expected]
    events: list[TimedEvent] = []
    event = found.first_event()
    while event is not None:
        events.append(event)
        event = found.event_following(event)
    assert [(event.at, event.local) for event in events] == expected
    assert found.occurrences(instants[0] - MINUTE, 1000) == instants
    assert found.count_fires(events[0], events[-1]) >= len(events)
    odd = [k for k in range(1, len(events)) if instants[k] - instants[k - 1] != DAY]
    for k in [*odd, *draw.sample(range(1, len(events)), 10)]:
        just_before = instants[k] - timedelta(microseconds=1)
        after, latest = found.event_after(just_before), found.latest_fire(just_before)
        assert after is not None
        assert latest is not None
        assert (after.at, latest.at) == (instants[k], instants[k - 1])
        exact = found.latest_fire(instants[k])
        assert exact is not None
        assert exact.at == instants[k]
        if found.dst is not None and found.dst.fold is Fold.BOTH:
            assert found.count_fires(events[k - 1], events[-1]) == len(events) - k + 1


def _compare_affected(
    found: Schedule,
    walk: Walk,
    policy: DaylightSaving,
    expected: list[tuple[datetime, datetime]],
) -> None:
    """Compare what is announced, and what is left out, with the odd local times of the walk."""
    sent: dict[datetime, list[datetime]] = {}
    skipped = []
    shown_too = {
        instant.astimezone(walk.zone).replace(tzinfo=None, fold=0) for instant, _ in expected
    }
    for instant, local in expected:
        is_gap = local in walk.skipped
        real = instant.astimezone(walk.zone).replace(tzinfo=None, fold=0)
        if is_gap and real.time() == local.time() and real in shown_too:
            is_gap = False  # the zone left out this whole day, and the next one has the instant
        elif is_gap or local in walk.shown:
            sent.setdefault(local, []).append(instant)
        if is_gap and policy.gap is Gap.SKIP:
            skipped.append(instant)
            sent[local] = []
    affected = dst_affected(found, expected[0][0] - MINUTE)
    assert {item.local: list(item.at) for item in affected} == sent
    assert [item.kind for item in affected] == [
        "gap" if item.local in walk.skipped else "fold" for item in affected
    ]
    event = found.first_event()
    left_out = []
    while event is not None:
        if gap_cause(found, event) is not None:
            left_out.append(event.at)
        event = found.event_following(event)
    assert left_out == skipped


def _compare_changes(walk: Walk) -> None:
    odd = {*walk.shown, *walk.skipped}
    low = datetime(walk.year, 1, 1, tzinfo=UTC) - 2 * DAY
    high = datetime(walk.year, 12, 31, 23, 59, tzinfo=UTC)
    affected = set()
    for change in clock_changes(walk.timezone, low, high):
        minutes = (change.end - change.start) // MINUTE
        affected |= {change.start + number * MINUTE for number in range(minutes)}
        assert change.is_gap is (change.start in walk.skipped)
    assert affected == odd
