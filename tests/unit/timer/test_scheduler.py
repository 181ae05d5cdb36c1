"""APScheduler itself over the window: what is due is handed over once, by the database's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from daemon.runtime.clock import SystemClock
from daemon.timer.scheduler import TimerScheduler
from daemon.timer.window import HANDED_OUT_AT_MOST, Entry
from tests.support.timer_entries import armed, seconds, unplannable, waiting

LIMIT = 60.0


class Taken:
    """What was handed over, and the means to wait for it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.at: list[datetime] = []
        self._changed = asyncio.Event()

    def __call__(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.at.append(datetime.now(UTC))
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
async def alarm(taken: Taken) -> AsyncIterator[TimerScheduler]:
    alarm = TimerScheduler(taken, SystemClock())
    alarm.start()
    yield alarm
    alarm.stop()


def soon(count: float) -> datetime:
    return datetime.now(UTC) + seconds(count)


async def test_what_is_due_is_handed_over(alarm: TimerScheduler, taken: Taken) -> None:
    alarm.load([armed(1, soon(-5)), waiting(2, soon(-1))])
    assert sorted(await taken.count(2)) == [1, 2]


async def test_one_that_can_not_be_reckoned_stops_no_other(
    alarm: TimerScheduler, taken: Taken
) -> None:
    """It is handed over too, for the claim to tell of it."""
    alarm.load([armed(1, soon(-2)), unplannable(2, soon(-1)), armed(3, soon(-0.5))])
    assert await taken.count(3) == [1, 2, 3]
    alarm.load([armed(4, soon(0.05))])
    assert await taken.count(4) == [1, 2, 3, 4]


async def test_on_time_and_in_order(alarm: TimerScheduler, taken: Taken) -> None:
    first, second = armed(1, soon(0.15)), armed(2, soon(0.05))
    alarm.load([first])
    alarm.load([second])
    assert await taken.count(2) == [2, 1]
    for entry, at in zip(taken.entries, taken.at, strict=True):
        assert at >= entry.event.at


async def test_an_earlier_entry_wakes_it(alarm: TimerScheduler, taken: Taken) -> None:
    alarm.load([armed(1, soon(3600))])
    alarm.load([armed(2, soon(0.02))])
    assert await taken.count(1) == [2]


async def test_what_is_loaded_again_and_again_is_handed_over_once(
    alarm: TimerScheduler, taken: Taken
) -> None:
    entry = armed(1, soon(-1))
    for _ in range(5):
        alarm.load([entry])
    await taken.count(1)
    alarm.load([entry])
    alarm.load([armed(2, soon(-1))])
    assert await taken.count(2) == [1, 2]


async def test_a_newer_revision_takes_the_place_of_the_older(
    alarm: TimerScheduler, taken: Taken
) -> None:
    at = soon(0.1)
    alarm.load([armed(1, at), armed(2, at)])
    alarm.load([armed(1, soon(3600), revision=2)])
    assert await taken.count(1) == [2]
    alarm.load([armed(3, soon(-1))])
    assert await taken.count(2) == [2, 3]


async def test_skew_is_corrected(alarm: TimerScheduler, taken: Taken) -> None:
    """The database is an hour ahead, so what is due there in an hour is due now."""
    alarm.load([armed(1, soon(3600.02)), armed(2, soon(7200))])
    alarm.set_skew(seconds(3600))
    alarm.wake()
    assert await taken.count(1) == [1]
    assert abs(alarm.database_now() - soon(3600)) < seconds(5)


async def test_a_database_that_is_behind_is_waited_for(alarm: TimerScheduler, taken: Taken) -> None:
    alarm.set_skew(seconds(-3600))
    alarm.load([armed(1, soon(-1800)), armed(2, soon(-3599.98))])
    assert await taken.count(1) == [2]


async def test_a_burst_is_handed_over_whole(alarm: TimerScheduler, taken: Taken) -> None:
    at = soon(0.02)
    alarm.load([armed(number, at) for number in range(2 * HANDED_OUT_AT_MOST + 5)])
    assert sorted(await taken.count(2 * HANDED_OUT_AT_MOST + 5)) == list(
        range(2 * HANDED_OUT_AT_MOST + 5)
    )


async def test_lateness_is_that_of_the_first_in_the_window(taken: Taken) -> None:
    alarm = TimerScheduler(taken, SystemClock())
    assert alarm.late() == 0
    alarm.load([armed(1, soon(60))])
    assert alarm.late() == 0
    alarm.load([armed(2, soon(-60))])
    assert 60 <= alarm.late() < 70


async def test_stopping_twice_is_harmless_and_hands_over_nothing_more(
    taken: Taken, caplog: pytest.LogCaptureFixture
) -> None:
    alarm = TimerScheduler(taken, SystemClock())
    alarm.stop()
    alarm.start()
    alarm.load([armed(1, soon(-1))])
    await taken.count(1)
    alarm.stop()
    alarm.stop()
    alarm.load([armed(2, soon(-1))])
    for _ in range(10):
        await asyncio.sleep(0)
    assert await taken.count(1) == [1]
    assert caplog.records == []
