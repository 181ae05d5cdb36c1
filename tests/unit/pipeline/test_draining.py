"""Draining: outcomes in time are written, the rest is released, and nothing waits forever."""

from __future__ import annotations

import asyncio

from daemon.domain.campaign.model import run_id
from daemon.domain.run.retry import RetryPolicy
from tests.support.pipeline_world import AT, LIMIT, UUID_OF, Target, World, armed, until


async def test_draining_does_not_wait_for_unwritable_outcomes() -> None:
    target = Target(slow=True)
    world = World(log=(target, 1))
    await world.pipeline.start()
    world.pipeline.claimer.enqueue(armed(1))
    await until(lambda: target.under_way == 1)
    world.store.poison = {1}
    async with asyncio.timeout(LIMIT):
        drained = asyncio.ensure_future(world.pipeline.drain(LIMIT * 10))
        await asyncio.sleep(0)
        target.gate.set()
        await drained
    assert world.store.released == []


async def test_draining_waits_for_attempts_that_end_in_time() -> None:
    target = Target(slow=True)
    world = World(log=(target, 2))
    await world.pipeline.start()
    for number in range(2):
        world.pipeline.claimer.enqueue(armed(number))
    await until(lambda: target.under_way == 2)
    async with asyncio.timeout(LIMIT):
        drained = asyncio.ensure_future(world.pipeline.drain(LIMIT))
        await asyncio.sleep(0)
        world.pipeline.claimer.enqueue(armed(7))
        target.gate.set()
        await drained
    assert sorted(world.store.finished) == [(0, "Delivered"), (1, "Delivered")]
    assert (world.store.released, 7 in target.asked) == ([], False)


async def test_draining_releases_attempts_that_do_not_end() -> None:
    target = Target(slow=True)
    world = World(log=(target, 1))
    await world.pipeline.start()
    for number in range(3):
        world.pipeline.claimer.enqueue(armed(number))
    await until(lambda: len(world.pipeline.in_flight) == 3)
    async with asyncio.timeout(LIMIT):
        await world.pipeline.drain(0)
    assert sorted(world.store.released) == [(0, "retrying"), (1, "not_started"), (2, "not_started")]
    assert world.store.finished == []
    assert target.under_way == 0, "its attempt was cancelled"
    assert ("runs_released", {"count": 3}) in world.events


async def test_draining_logs_each_held_run() -> None:
    """Once, and only runs that were still this node's; the rest is released."""
    target = Target(slow=True)
    world = World(keep=(target, 2))
    world.pipeline.pools.configure({"keep": (target, RetryPolicy(holds=True), 2)})
    await world.pipeline.start()
    for number in range(3):
        world.pipeline.claimer.enqueue(armed(number, "keep"))
    await until(lambda: len(world.pipeline.in_flight) == 3)
    world.store.losing.add(1)
    async with asyncio.timeout(LIMIT):
        await world.pipeline.drain(0)
    assert sorted(world.store.released) == [(0, "held"), (1, "held"), (2, "not_started")]
    assert [event for event in world.events if event[0] in ("run_held", "runs_released")] == [
        (
            "run_held",
            {
                "campaign_id": 0,
                "campaign_uuid": UUID_OF[0],
                "run_id": run_id(UUID_OF[0], AT),
                "scheduled_for": AT,
                "attempt": 1,
                "target": "keep",
                "outcome": "held",
                "error": "its node stopped",
            },
        ),
        ("runs_released", {"count": 1}),
    ]


async def test_draining_works_although_the_claimer_died() -> None:
    target = Target(slow=True)
    world = World(log=(target, 1))
    await world.pipeline.start()
    world.pipeline.claimer.enqueue(armed(1))
    await until(lambda: len(world.pipeline.in_flight) == 1)
    world.timer.broken = True
    world.pipeline.claimer.enqueue(armed(2))
    task = world.pipeline.claimer.task
    await until(task.done)
    async with asyncio.timeout(LIMIT):
        await world.pipeline.drain(0)
    assert (1, "retrying") in world.store.released


async def test_starting_and_draining_twice_is_harmless() -> None:
    world = World(log=(Target(), 1))
    async with asyncio.timeout(LIMIT):
        await world.pipeline.start()
        await world.pipeline.start()
        await world.pipeline.drain(0)
        await world.pipeline.drain(0)


async def test_the_completer_stops_although_one_writer_waits_for_another() -> None:
    """A stop in an outage: a writer that backed off checks whether anything is left to write."""
    async with World(log=(Target(), 1)) as world:
        completer, store = world.pipeline.completer, world.store
        pausing, resume = asyncio.Event(), asyncio.Event()

        async def pause(_seconds: float) -> bool:
            pausing.set()
            return await resume.wait()

        completer.pause = pause  # type: ignore[method-assign]
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: store.claims == [[1]])
        store.down = True
        async with asyncio.timeout(LIMIT):
            await pausing.wait()
        store.down = False
        stopped = asyncio.create_task(completer.stop())
        await asyncio.sleep(0)
        resume.set()
        async with asyncio.timeout(LIMIT):
            await stopped
        assert store.finished == [(1, "Delivered")]
