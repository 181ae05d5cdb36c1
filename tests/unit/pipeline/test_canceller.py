"""Attempts in flight of campaigns that were stopped or paused, with or without a notification."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from daemon.domain.errors import Unavailable
from daemon.domain.run.attempt import Attempt
from daemon.pipeline.canceller import RunCanceller
from tests.support.builders import armed_once
from tests.support.pipeline_harness import GatedTarget, PipelineHarness
from tests.support.waiting import PATIENCE_S, spin_until

Found = dict[tuple[int, datetime], tuple[str, int, str]]


class Runs:
    """The statuses of runs: all are executing, but for those named otherwise."""

    def __init__(self) -> None:
        self.stopped: set[int] = set()
        self.paused: set[int] = set()
        self.down = False
        self.asked = 0

    async def statuses(self, works: Sequence[Attempt]) -> Found:
        self.asked += 1
        if self.down:
            raise Unavailable("away")
        return {work.key: self._of(work) for work in works}

    def _of(self, work: Attempt) -> tuple[str, int, str]:
        status = "cancelled" if work.campaign_id in self.stopped else "executing"
        campaign = "paused" if work.campaign_id in self.paused else "executing"
        return status, work.number, campaign


def canceller_of(harness: PipelineHarness, runs: Runs, every: float = 3600.0) -> RunCanceller:
    return RunCanceller(runs, harness.context, harness.pipeline.pools, every=every)


async def in_flight(harness: PipelineHarness, target: GatedTarget, count: int) -> None:
    """One attempt is under way, the others wait for it."""
    for number in range(count):
        harness.pipeline.claimer.enqueue([armed_once(number)])
    await spin_until(lambda: len(harness.pipeline.in_flight) == count and target.asked == [0])


async def test_a_paused_campaign_starts_nothing() -> None:
    """Attempts that have not started are released; the attempt under way ends by itself."""
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 1), batch=10) as harness:
        await in_flight(harness, target, 4)
        runs = Runs()
        runs.paused = {0, 2, 3}
        canceller = canceller_of(harness, runs)
        await canceller.start()
        canceller.campaigns_edited([0, 2, 3, 77])
        await spin_until(lambda: len(harness.store.released) == 2)
        assert harness.store.released == [(2, "not_started"), (3, "not_started")]
        target.gate.set()
        await spin_until(lambda: len(harness.pipeline.in_flight) == 0)
        assert target.asked == [0, 1]
        await canceller.stop()


async def test_lost_notifications_are_made_good_by_the_poll() -> None:
    """Attempts that are in flight for long are checked periodically; new ones are not."""
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 1), batch=10) as harness:
        runs = Runs()
        runs.stopped, runs.paused = {0, 1}, {2}
        canceller = canceller_of(harness, runs, every=0.01)
        await in_flight(harness, target, 3)
        await canceller.start()
        async with asyncio.timeout(PATIENCE_S):
            while not (harness.store.released and len(harness.pipeline.in_flight) == 0):
                harness.clock.seconds += 0.01
                await asyncio.sleep(0.001)
        assert harness.event_names().count("attempt_cancelled") == 2
        assert harness.store.released == [(2, "not_started")]
        assert target.asked == [0]
        await canceller.stop()


async def test_nothing_in_flight_asks_nothing() -> None:
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        runs = Runs()
        canceller = canceller_of(harness, runs, every=0.001)
        await canceller.start()
        for _ in range(20):
            harness.clock.seconds += 1
            await asyncio.sleep(0.002)
        assert runs.asked == 0
        await canceller.stop()


async def test_an_outage_ends_when_nothing_is_left_to_ask() -> None:
    """The canceller must not count as failing, nor forget the attempts that it drained."""
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 1), batch=10) as harness:
        await in_flight(harness, target, 2)
        runs = Runs()
        canceller = canceller_of(harness, runs)
        await canceller.start()
        runs.down = True
        canceller.campaigns_edited([0])
        await spin_until(lambda: not harness.health.is_up)
        target.gate.set()
        await spin_until(lambda: len(harness.pipeline.in_flight) == 0)
        await spin_until(lambda: harness.health.is_up)
        assert harness.event_names().count("database_back") == 1
        await canceller.stop()
