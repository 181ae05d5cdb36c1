"""Retention: old history is deleted; open, new and each campaign's newest rows stay."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from storage import prune
from storage.prune import Prune
from tests.support.database_world import NOON, Node, World, daily, days, hours, once


async def pruned(world: World, keep: timedelta) -> tuple[int, int]:
    """Return the number of deleted runs and events."""
    steps = [step async for step in Prune(world.database, world.now).steps(keep)]
    return sum(step.runs for step in steps), sum(step.events for step in steps)


async def ran(world: World, node: Node, campaign_id: int, times: int) -> None:
    """Run some occurrences of a daily campaign."""
    for _ in range(times):
        timer = await world.timer(campaign_id)
        world.set(timer.fire_at)
        (won,) = await node.claim()
        await node.finish(won.attempt)


async def test_old_history_is_deleted(
    world: World, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "ROW_BATCH", 3)
    campaign_id = await world.saved(daily(NOON + hours(1)))
    await ran(world, node, campaign_id, 10)
    before = len(await world.events(campaign_id))
    assert await pruned(world, days(30)) == (0, 0)
    runs, events = await pruned(world, days(4) + hours(1))
    assert runs == 5
    assert len(await world.runs(campaign_id)) == 5
    assert len(await world.events(campaign_id)) == before - events
    await ran(world, node, campaign_id, 1)
    assert await world.run_statuses(campaign_id) == ["completed"] * 6


async def test_the_newest_row_and_open_runs_stay(world: World, node: Node) -> None:
    done = await world.saved(once(NOON + hours(1)))
    world.set(NOON + hours(1))
    (won,) = await node.claim()
    await node.finish(won.attempt)
    waits = await world.saved(daily(NOON + hours(2)))
    world.set(NOON + hours(2))
    await node.claim()
    world.set(NOON + days(90))
    await pruned(world, days(1))
    assert await world.run_statuses(done) == ["completed"]
    assert await world.run_statuses(waits) == ["executing"]
    assert (await world.events(done))[-1].event == "run_ended"


async def test_one_process_prunes_at_a_time(world: World, node: Node) -> None:
    """A process blocks others during its step, but not between steps."""
    campaign_id = await world.saved(daily(NOON + hours(1)))
    await ran(world, node, campaign_id, 3)
    world.set(NOON + days(90))
    async with world.database.transaction() as other:
        assert await other.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(prune.LOCK)))
        assert await pruned(world, days(1)) == (0, 0)
    assert (await pruned(world, days(1)))[0] == 2


async def test_nothing_is_locked_between_two_steps(world: World, node: Node) -> None:
    """Behind a pooler, a session's lock would outlive a killed process."""
    campaign_id = await world.saved(daily(NOON + hours(1)))
    await ran(world, node, campaign_id, 3)
    world.set(NOON + days(90))
    interrupted = Prune(world.database, world.now).steps(days(1))
    assert (await anext(interrupted)).runs == 2
    async with world.database.statement() as other:
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = ("
        ours = "SELECT oid FROM pg_database WHERE datname = current_database())"
        assert await other.scalar(sa.text(locks + ours)) == 0
    await interrupted.aclose()
