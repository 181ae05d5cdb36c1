"""Nights and years, instant by instant, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.support.timed_database import TICK, TimedDatabase, open_timed_database


@pytest.fixture
async def timed(database_url: str) -> AsyncIterator[TimedDatabase]:
    """A database whose clock the test sets."""
    async with open_timed_database(database_url) as found:
        yield found


def instant_of(day: date, wall: time, zone: str) -> datetime:
    """By the standard library: the offset before a gap, and the first pass of an overlap."""
    return datetime.combine(day, wall, ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("zone", "around", "wall"),
    [
        ("America/New_York", date(2026, 3, 8), time(2, 30)),  # A gap: 03:30 daylight time.
        ("America/New_York", date(2026, 11, 1), time(1, 30)),  # An overlap: the first pass.
        ("Europe/Berlin", date(2026, 3, 29), time(9, 0)),
        ("Europe/Berlin", date(2026, 10, 25), time(2, 0)),
        ("Australia/Lord_Howe", date(2026, 10, 4), time(2, 15)),  # Half an hour.
        ("Australia/Lord_Howe", date(2026, 4, 5), time(1, 45)),
        ("America/Nuuk", date(2026, 3, 28), time(23, 30)),
        ("Africa/Casablanca", date(2026, 2, 15), time(2, 30)),  # The clock changes of Ramadan.
        ("Pacific/Apia", date(2027, 1, 1), time(0, 0)),
    ],
)
async def test_local_time_is_kept_across_a_change(
    timed: TimedDatabase, zone: str, around: date, wall: time
) -> None:
    """A week around the change: one run on each local date, never early, never twice."""
    days = [around + timedelta(days=number) for number in range(-3, 4)]
    timed.set_time(instant_of(days[0], wall, zone) - timedelta(hours=1))
    node = await timed.register_node()
    body = {
        "schedule_type": "recurring",
        "recurring_config": {
            "frequency": "daily",
            "time": wall.strftime("%H:%M"),
            "time_zone": zone,
            "end_date": days[-1].isoformat(),
        },
    }
    campaign = await timed.add_scheduled(body)

    for day in days:
        expected = instant_of(day, wall, zone)
        timed.set_time(expected - TICK)
        assert await node.claim([await timed.armed_event_of(campaign)]) == [], "not before its time"
        timed.set_time(expected)
        (won,) = await node.claim()
        assert won.scheduled_for == expected
        assert await node.claim() == [], "once"
        assert won.attempt is not None
        await node.finish(won.attempt)
        assert await timed.status_of(campaign) == ("completed" if day == days[-1] else "launched")
        await timed.check_invariants(campaign)

    runs = await timed.runs_of(campaign)
    assert [run.status for run in runs] == ["completed"] * len(days)
    local = [run.scheduled_for.astimezone(ZoneInfo(zone)) for run in runs]
    kept = [each.date() for each in local if each.time() == wall]
    assert len(kept) >= len(days) - 1, "moved only where the clock does not show that time"
    assert kept == [day for day in days if day in kept]


async def test_each_hour_of_a_night_asks_once(timed: TimedDatabase) -> None:
    """A daemon that polls every quarter of an hour through the doubled hour fires once in it."""
    zone = "Europe/Berlin"
    evening = datetime(2026, 10, 24, 20, tzinfo=UTC)
    timed.set_time(evening)
    node = await timed.register_node()
    campaign = await timed.add_scheduled(
        {
            "schedule_type": "recurring",
            "recurring_config": {"frequency": "daily", "time": "02:30", "time_zone": zone},
        }
    )
    for quarter in range(40):
        timed.set_time(evening + timedelta(minutes=15 * quarter))
        for won in await node.claim_all():
            assert won.attempt is not None
            await node.finish(won.attempt)
    (run,) = await timed.runs_of(campaign)
    assert run.scheduled_for == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert (await timed.armed_event_of(campaign)).event.at == datetime(
        2026, 10, 26, 1, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("2026-06-05", date(2026, 6, 5)),  # A date is inclusive.
        ("2026-06-05T09:00:00", date(2026, 6, 5)),  # An instant is inclusive too.
        ("2026-06-05T08:59:59", date(2026, 6, 4)),
        ("2026-06-05T09:00:00Z", date(2026, 6, 5)),
        ("2026-06-05T07:00:00Z", date(2026, 6, 5)),  # This is 09:00 in Berlin.
        ("2026-06-05T06:59:59Z", date(2026, 6, 4)),
    ],
)
async def test_a_recurrence_ends_when_its_end_passes(
    timed: TimedDatabase, end: str, last: date
) -> None:
    """The last occurrence completes the campaign, and leaves no armed event."""
    node = await timed.register_node()
    campaign = await timed.add_scheduled(
        {
            "schedule_type": "recurring",
            "recurring_config": {
                "frequency": "daily",
                "time": "09:00",
                "time_zone": "Europe/Berlin",
                "end_date": end,
            },
        }
    )
    seen: list[date] = []
    while await timed.timer_of(campaign) is not None:
        timed.set_time((await timed.armed_event_of(campaign)).event.at)
        (won,) = await node.claim()
        assert won.attempt is not None
        assert won.scheduled_for is not None
        await node.finish(won.attempt)
        seen.append(won.scheduled_for.date())
    assert seen == [date(2026, 6, 2) + timedelta(days=n) for n in range(last.day - 1)]
    assert await timed.status_of(campaign) == "completed"
    timed.advance(timedelta(days=400))
    assert await node.claim_all() == []
    assert len(await timed.runs_of(campaign)) == len(seen)


async def test_the_last_one_missed_ends_it_too(timed: TimedDatabase) -> None:
    """After days without a node, late occurrences have rows, and the campaign ends."""
    node = await timed.register_node()
    campaign = await timed.add_scheduled(
        {
            "schedule_type": "recurring",
            "recurring_config": {"frequency": "daily", "time": "09:00", "end_date": "2026-06-05"},
        }
    )
    timed.set_time(datetime(2026, 6, 7, tzinfo=UTC))
    await node.claim_all()
    assert await timed.run_statuses_of(campaign) == ["missed"] * 4
    assert await timed.status_of(campaign) == "failed"
    assert await timed.timer_of(campaign) is None
