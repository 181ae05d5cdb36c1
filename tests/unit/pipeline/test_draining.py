"""Draining: outcomes in time are written, the rest is released, and nothing waits forever."""

from __future__ import annotations

import asyncio

from daemon.domain.campaign.model import run_id
from daemon.domain.run.retry import RetryPolicy
from tests.support.builders import armed_once
from tests.support.clocks import NOON
from tests.support.pipeline_harness import UUID_OF, GatedTarget, PipelineHarness
from tests.support.waiting import PATIENCE_S, spin_until


async def test_draining_does_not_wait_for_unwritable_outcomes() -> None:
    target = GatedTarget(slow=True)
    harness = PipelineHarness(log=(target, 1))
    await harness.pipeline.start()
    harness.pipeline.claimer.enqueue([armed_once(1)])
    await spin_until(lambda: target.under_way == 1)
    harness.store.poison = {1}
    async with asyncio.timeout(PATIENCE_S):
        drained = asyncio.ensure_future(harness.pipeline.drain(PATIENCE_S * 10))
        await asyncio.sleep(0)
        target.gate.set()
        await drained
    assert harness.store.released == []


async def test_draining_waits_for_attempts_that_end_in_time() -> None:
    target = GatedTarget(slow=True)
    harness = PipelineHarness(log=(target, 2))
    await harness.pipeline.start()
    for number in range(2):
        harness.pipeline.claimer.enqueue([armed_once(number)])
    await spin_until(lambda: target.under_way == 2)
    async with asyncio.timeout(PATIENCE_S):
        drained = asyncio.ensure_future(harness.pipeline.drain(PATIENCE_S))
        await asyncio.sleep(0)
        harness.pipeline.claimer.enqueue([armed_once(7)])
        target.gate.set()
        await drained
    assert sorted(harness.store.finished) == [(0, "Delivered"), (1, "Delivered")]
    assert (harness.store.released, 7 in target.asked) == ([], False)


async def test_draining_releases_attempts_that_do_not_end() -> None:
    target = GatedTarget(slow=True)
    harness = PipelineHarness(log=(target, 1))
    await harness.pipeline.start()
    for number in range(3):
        harness.pipeline.claimer.enqueue([armed_once(number)])
    await spin_until(lambda: len(harness.pipeline.in_flight) == 3)
    async with asyncio.timeout(PATIENCE_S):
        await harness.pipeline.drain(0)
    assert sorted(harness.store.released) == [
        (0, "retrying"),
        (1, "not_started"),
        (2, "not_started"),
    ]
    assert harness.store.finished == []
    assert target.under_way == 0, "its attempt was cancelled"
    assert ("runs_released", {"count": 3}) in harness.events


async def test_draining_logs_each_held_run() -> None:
    """Once, and only runs that were still this node's; the rest is released."""
    target = GatedTarget(slow=True)
    harness = PipelineHarness(keep=(target, 2))
    harness.pipeline.pools.configure({"keep": (target, RetryPolicy(holds=True), 2)})
    await harness.pipeline.start()
    for number in range(3):
        harness.pipeline.claimer.enqueue([armed_once(number, "keep")])
    await spin_until(lambda: len(harness.pipeline.in_flight) == 3)
    harness.store.losing.add(1)
    async with asyncio.timeout(PATIENCE_S):
        await harness.pipeline.drain(0)
    assert sorted(harness.store.released) == [(0, "held"), (1, "held"), (2, "not_started")]
    assert [event for event in harness.events if event[0] in ("run_held", "runs_released")] == [
        (
            "run_held",
            {
                "campaign_id": 0,
                "campaign_uuid": UUID_OF[0],
                "run_id": run_id(UUID_OF[0], NOON),
                "scheduled_for": NOON,
                "attempt": 1,
                "target": "keep",
                "outcome": "held",
                "error": "its node stopped",
            },
        ),
        ("runs_released", {"count": 1}),
    ]


async def test_draining_works_although_the_claimer_died() -> None:
    target = GatedTarget(slow=True)
    harness = PipelineHarness(log=(target, 1))
    await harness.pipeline.start()
    harness.pipeline.claimer.enqueue([armed_once(1)])
    await spin_until(lambda: len(harness.pipeline.in_flight) == 1)
    harness.timer.broken = True
    harness.pipeline.claimer.enqueue([armed_once(2)])
    task = harness.pipeline.claimer.task
    await spin_until(task.done)
    async with asyncio.timeout(PATIENCE_S):
        await harness.pipeline.drain(0)
    assert (1, "retrying") in harness.store.released


async def test_starting_and_draining_twice_is_harmless() -> None:
    harness = PipelineHarness(log=(GatedTarget(), 1))
    async with asyncio.timeout(PATIENCE_S):
        await harness.pipeline.start()
        await harness.pipeline.start()
        await harness.pipeline.drain(0)
        await harness.pipeline.drain(0)


async def test_the_completer_stops_although_one_writer_waits_for_another() -> None:
    """A stop in an outage: a writer that backed off checks whether anything is left to write."""
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        completer, store = harness.pipeline.completer, harness.store
        pausing, resume = asyncio.Event(), asyncio.Event()

        async def pause(_seconds: float) -> bool:
            pausing.set()
            return await resume.wait()

        completer.wait_for_stop = pause  # type: ignore[method-assign]
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: store.claims == [[1]])
        store.down = True
        async with asyncio.timeout(PATIENCE_S):
            await pausing.wait()
        store.down = False
        stopped = asyncio.create_task(completer.stop())
        await asyncio.sleep(0)
        resume.set()
        async with asyncio.timeout(PATIENCE_S):
            await stopped
        assert store.finished == [(1, "Delivered")]
