"""APScheduler over the window: due entries are handed over once, by the database clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from daemon.domain.run.attempt import DueEntry
from daemon.runtime.clock import DatabaseClock, SystemClock
from daemon.timer.scheduler import TimerScheduler
from daemon.timer.window import ENTRIES_AT_ONCE, LEAD
from tests.support.builders import armed_event, armed_in_unknown_zone, pending_run
from tests.support.clocks import seconds

LIMIT = 60.0


class Taken:
    """What was handed over, and the means to wait for it."""

    def __init__(self) -> None:
        self.entries: list[DueEntry] = []
        self.at: list[datetime] = []
        self._changed = asyncio.Event()

    def __call__(self, entries: list[DueEntry]) -> None:
        self.entries += entries
        self.at += [datetime.now(UTC)] * len(entries)
        self._changed.set()

    async def count(self, count: int) -> list[int]:
        async with asyncio.timeout(LIMIT):
            while len(self.entries) < count:
                self._changed.clear()
                await self._changed.wait()
        return [entry.campaign_id for entry in self.entries]


@pytest.fixture
def taken() -> Taken:
    return Taken()


@pytest.fixture
def database_clock() -> DatabaseClock:
    return DatabaseClock(SystemClock())


@pytest.fixture
async def scheduler(database_clock: DatabaseClock, taken: Taken) -> AsyncIterator[TimerScheduler]:
    scheduler = TimerScheduler(SystemClock(), database_clock)
    scheduler.start(taken)
    yield scheduler
    scheduler.stop()


def load(scheduler: TimerScheduler, entries: list[DueEntry]) -> None:
    """Load entries as the loader does."""
    if scheduler.window.load(entries):
        scheduler.wake()


def soon(count: float) -> datetime:
    return datetime.now(UTC) + seconds(count)


async def test_due_entries_are_handed_over(scheduler: TimerScheduler, taken: Taken) -> None:
    load(scheduler, [armed_event(1, soon(-5)), pending_run(2, soon(-1))])
    assert sorted(await taken.count(2)) == [1, 2]


async def test_an_invalid_schedule_stops_no_other(scheduler: TimerScheduler, taken: Taken) -> None:
    """It is handed over too, so that the claim logs its error."""
    load(
        scheduler,
        [armed_event(1, soon(-2)), armed_in_unknown_zone(2, soon(-1)), armed_event(3, soon(-0.5))],
    )
    assert await taken.count(3) == [1, 2, 3]
    load(scheduler, [armed_event(4, soon(0.05))])
    assert await taken.count(4) == [1, 2, 3, 4]


async def test_on_time_and_in_order(scheduler: TimerScheduler, taken: Taken) -> None:
    first, second = armed_event(1, soon(0.15)), armed_event(2, soon(0.05))
    load(scheduler, [first])
    load(scheduler, [second])
    assert await taken.count(2) == [2, 1]
    for entry, at in zip(taken.entries, taken.at, strict=True):
        assert at >= entry.event.at - LEAD


async def test_an_earlier_entry_wakes_it(scheduler: TimerScheduler, taken: Taken) -> None:
    load(scheduler, [armed_event(1, soon(3600))])
    load(scheduler, [armed_event(2, soon(0.02))])
    assert await taken.count(1) == [2]


async def test_an_entry_loaded_repeatedly_is_handed_over_once(
    scheduler: TimerScheduler, taken: Taken
) -> None:
    entry = armed_event(1, soon(-1))
    for _ in range(5):
        load(scheduler, [entry])
    await taken.count(1)
    load(scheduler, [entry])
    load(scheduler, [armed_event(2, soon(-1))])
    assert await taken.count(2) == [1, 2]


async def test_a_newer_revision_takes_the_place_of_the_older(
    scheduler: TimerScheduler, taken: Taken
) -> None:
    at = soon(0.1)
    load(scheduler, [armed_event(1, at), armed_event(2, at)])
    load(scheduler, [armed_event(1, soon(3600), revision=2)])
    assert await taken.count(1) == [2]
    load(scheduler, [armed_event(3, soon(-1))])
    assert await taken.count(2) == [2, 3]


async def test_skew_is_corrected(
    scheduler: TimerScheduler, database_clock: DatabaseClock, taken: Taken
) -> None:
    """The database is an hour ahead, so what is due there in an hour is due now."""
    load(scheduler, [armed_event(1, soon(3600.02)), armed_event(2, soon(7200))])
    database_clock.set_skew(seconds(3600))
    scheduler.wake()
    assert await taken.count(1) == [1]
    assert abs(database_clock.now() - soon(3600)) < seconds(5)


async def test_a_database_that_is_behind_is_waited_for(
    scheduler: TimerScheduler, database_clock: DatabaseClock, taken: Taken
) -> None:
    database_clock.set_skew(seconds(-3600))
    load(scheduler, [armed_event(1, soon(-1800)), armed_event(2, soon(-3599.98))])
    assert await taken.count(1) == [2]


async def test_a_burst_is_handed_over_whole(scheduler: TimerScheduler, taken: Taken) -> None:
    at = soon(0.02)
    load(scheduler, [armed_event(number, at) for number in range(2 * ENTRIES_AT_ONCE + 5)])
    assert sorted(await taken.count(2 * ENTRIES_AT_ONCE + 5)) == list(
        range(2 * ENTRIES_AT_ONCE + 5)
    )


def test_lag_is_that_of_the_first_entry_in_the_window(database_clock: DatabaseClock) -> None:
    scheduler = TimerScheduler(SystemClock(), database_clock)
    assert scheduler.lag() == 0
    load(scheduler, [armed_event(1, soon(60))])
    assert scheduler.lag() == 0
    load(scheduler, [armed_event(2, soon(-60))])
    assert 60 <= scheduler.lag() < 70


async def test_stopping_twice_is_harmless_and_hands_over_nothing_more(
    database_clock: DatabaseClock, taken: Taken, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = TimerScheduler(SystemClock(), database_clock)
    scheduler.stop()
    scheduler.start(taken)
    load(scheduler, [armed_event(1, soon(-1))])
    await taken.count(1)
    scheduler.stop()
    scheduler.stop()
    load(scheduler, [armed_event(2, soon(-1))])
    for _ in range(10):
        await asyncio.sleep(0)
    assert await taken.count(1) == [1]
    assert caplog.records == []
