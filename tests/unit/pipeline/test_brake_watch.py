"""A node obeys a freeze: what it has claimed and not begun is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from daemon.domain.brakes import NO_BRAKES, Brake, Brakes, scope_of
from daemon.domain.errors import Unavailable
from daemon.pipeline.brake_watch import BrakeWatch
from tests.support.builders import armed_once
from tests.support.clocks import NOON
from tests.support.pipeline_harness import GatedTarget, PipelineHarness
from tests.support.waiting import PATIENCE_S, spin_until

SECOND = timedelta(seconds=1)


class StoredBrakes:
    """The brakes of the database."""

    def __init__(self) -> None:
        self.current = NO_BRAKES
        self.down = False
        self.ends_asked = 0

    async def read(self) -> Brakes:
        if self.down:
            raise Unavailable("away")
        return self.current

    async def thaw_ended(self) -> Sequence[Any]:
        self.ends_asked += 1
        self.current = Brakes([Brake("*", NOON + 2 * SECOND)])
        return []

    def freeze(self, target: str | None = None, **fields: Any) -> None:
        brake = Brake(scope_of(target), NOON + SECOND, NOON, "cli:ann", **fields)
        self.current = Brakes([brake])

    def thaw(self) -> None:
        self.current = Brakes(
            [Brake(each.scope, NOON + 2 * SECOND) for each in self.current.brakes]
        )


def watch_of(harness: PipelineHarness, stored: StoredBrakes) -> BrakeWatch:
    return BrakeWatch(stored, harness.context, harness.pipeline.pools, harness.pipeline.plans)


async def obey(watch: BrakeWatch, stored: StoredBrakes) -> None:
    """Tell the watch of the last change, as the loader does after its poll."""
    await watch.obey(stored.current.changed_at)


async def test_what_is_claimed_and_not_begun_is_given_back() -> None:
    """The attempt under way goes on to its end, and the log has a line."""
    target, stored = GatedTarget(slow=True), StoredBrakes()
    async with PipelineHarness(log=(target, 1), batch=10) as harness:
        watch = watch_of(harness, stored)
        for number in range(4):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: len(harness.pipeline.in_flight) == 4 and target.asked == [0])
        stored.freeze(note="incident")
        await obey(watch, stored)
        assert harness.store.released == [(number, "not_started") for number in (1, 2, 3)]
        assert len(harness.pipeline.in_flight) == 1
        (fields,) = [fields for name, fields in harness.events if name == "frozen"]
        assert (fields["scope"], fields["by"], fields["note"]) == ("*", "cli:ann", "incident")
        target.gate.set()
        await spin_until(lambda: harness.store.finished == [(0, "Delivered")])
        assert target.asked == [0]


async def test_nothing_is_claimed_until_it_is_thawed() -> None:
    """What comes due waits in memory, and is claimed at the end of the freeze."""
    target, stored = GatedTarget(), StoredBrakes()
    async with PipelineHarness(log=(target, 1)) as harness:
        watch = watch_of(harness, stored)
        stored.freeze()
        await obey(watch, stored)
        harness.pipeline.claimer.enqueue([armed_once(7)])
        for _ in range(20):
            await asyncio.sleep(0)
        assert (harness.store.claims, harness.pipeline.due) == ([], 1)
        stored.thaw()
        await obey(watch, stored)
        await spin_until(lambda: harness.store.finished == [(7, "Delivered")])
        assert "thawed" in harness.event_names()


async def test_a_claim_that_was_under_way_begins_nothing() -> None:
    """Its runs are given back once its answer is here."""
    target, stored = GatedTarget(), StoredBrakes()
    async with PipelineHarness(log=(target, 1)) as harness:
        watch = watch_of(harness, stored)
        harness.store.gate.clear()
        harness.pipeline.claimer.enqueue([armed_once(3)])
        await spin_until(lambda: harness.store.claims == [[3]])
        stored.freeze()
        await obey(watch, stored)
        harness.store.gate.set()
        await spin_until(lambda: len(harness.pipeline.in_flight) == 1)
        await obey(watch, stored)
        assert harness.store.released == [(3, "not_started")]
        assert target.asked == []


async def test_one_target_is_frozen_alone() -> None:
    mail, log, stored = GatedTarget(), GatedTarget(), StoredBrakes()
    async with PipelineHarness(mail=(mail, 1), log=(log, 1)) as harness:
        stored.freeze("mail")
        await obey(watch_of(harness, stored), stored)
        harness.pipeline.claimer.enqueue([armed_once(1)._replace(target="mail"), armed_once(2)])
        await spin_until(lambda: harness.store.finished == [(2, "Delivered")])
        assert mail.asked == []


async def test_a_release_that_fails_is_repeated() -> None:
    """Until then the node begins nothing of it either."""
    target, stored = GatedTarget(slow=True), StoredBrakes()
    async with PipelineHarness(log=(target, 1), batch=10) as harness:
        watch = watch_of(harness, stored)
        for number in range(2):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: target.asked == [0] and len(harness.pipeline.in_flight) == 2)
        stored.freeze()
        harness.store.down = True
        try:
            await obey(watch, stored)
        except Unavailable:
            harness.store.down = False
        await obey(watch, stored)
        assert harness.store.released == [(1, "not_started")]


async def test_a_freeze_that_is_over_is_ended() -> None:
    """By whichever node is first; the others find that it has ended."""
    stored = StoredBrakes()
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        watch = watch_of(harness, stored)
        stored.freeze(thaw_at=NOON)
        watch.notice(stored.current.changed_at)
        await watch.start()
        async with asyncio.timeout(PATIENCE_S):
            while not stored.ends_asked:
                watch.wake()
                await asyncio.sleep(0.01)
        await spin_until(lambda: not watch.current.frozen)
        await watch.stop()
