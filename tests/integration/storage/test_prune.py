"""Retention: old history is deleted; open, new and each campaign's newest rows stay."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from storage import prune
from storage.prune import Prune
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, days, hours
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase


async def pruned(db: TimedDatabase, keep: timedelta) -> tuple[int, int]:
    """Return the number of deleted runs and events."""
    steps = [step async for step in Prune(db.database, db.now).prune_history(keep)]
    return sum(step.runs for step in steps), sum(step.events for step in steps)


async def ran(db: TimedDatabase, node: DatabaseNode, campaign_id: int, times: int) -> None:
    """Run some occurrences of a daily campaign."""
    for _ in range(times):
        timer = await db.timer_of(campaign_id)
        db.set_time(timer.fire_at)
        (won,) = await node.claim()
        await node.finish(won.attempt)


async def test_old_history_is_deleted(
    db: TimedDatabase, node: DatabaseNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "ROW_BATCH", 3)
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    await ran(db, node, campaign_id, 10)
    before = len(await db.events_of(campaign_id))
    assert await pruned(db, days(30)) == (0, 0)
    runs, events = await pruned(db, days(4) + hours(1))
    assert runs == 5
    assert len(await db.runs_of(campaign_id)) == 5
    assert len(await db.events_of(campaign_id)) == before - events
    await ran(db, node, campaign_id, 1)
    assert await db.run_statuses_of(campaign_id) == ["completed"] * 6


async def test_the_newest_row_and_open_runs_stay(db: TimedDatabase, node: DatabaseNode) -> None:
    done = await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    (won,) = await node.claim()
    await node.finish(won.attempt)
    waits = await db.add_scheduled(daily_body(NOON + hours(2)))
    db.set_time(NOON + hours(2))
    await node.claim()
    db.set_time(NOON + days(90))
    await pruned(db, days(1))
    assert await db.run_statuses_of(done) == ["completed"]
    assert await db.run_statuses_of(waits) == ["executing"]
    assert (await db.events_of(done))[-1].event == "run_ended"


async def test_one_process_prunes_at_a_time(db: TimedDatabase, node: DatabaseNode) -> None:
    """A process blocks others during its step, but not between steps."""
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    await ran(db, node, campaign_id, 3)
    db.set_time(NOON + days(90))
    async with db.database.transaction() as other:
        assert await other.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(prune.LOCK)))
        assert await pruned(db, days(1)) == (0, 0)
    assert (await pruned(db, days(1)))[0] == 2


async def test_nothing_is_locked_between_two_steps(db: TimedDatabase, node: DatabaseNode) -> None:
    """Behind a pooler, a session's lock would outlive a killed process."""
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    await ran(db, node, campaign_id, 3)
    db.set_time(NOON + days(90))
    interrupted = Prune(db.database, db.now).prune_history(days(1))
    assert (await anext(interrupted)).runs == 2
    async with db.database.statement() as other:
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = ("
        ours = "SELECT oid FROM pg_database WHERE datname = current_database())"
        assert await other.scalar(sa.text(locks + ours)) == 0
    await interrupted.aclose()
