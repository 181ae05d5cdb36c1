"""No statement of the firing path waits for a row that another session has locked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa

from daemon.domain.run.attempt import Attempt, FinishedAttempt
from daemon.domain.run.outcome import Accepted, Delivered, Retry
from storage.leases import LeaseTable
from tests.support.builders import daily_body, once_body
from tests.support.clocks import days, seconds
from tests.support.database_node import DatabaseNode
from tests.support.fired import AT
from tests.support.timed_database import TimedDatabase

TABLES = {"campaigns": "id", "runs": "campaign_id"}


@asynccontextmanager
async def locked(db: TimedDatabase, table: str, campaign_id: int) -> AsyncIterator[int]:
    """Lock a campaign's rows of a table; yield the process id of the session."""
    async with db.database.transaction() as holder:
        lock = f"SELECT pg_backend_pid() FROM {table} WHERE {TABLES[table]} = :id FOR UPDATE"
        found = await holder.execute(sa.text(lock), {"id": campaign_id})
        yield found.scalars().all()[0]


async def two_runs(db: TimedDatabase, node: DatabaseNode) -> tuple[Attempt, Attempt]:
    """Return the attempts of two campaigns, in flight on the node."""
    for _ in range(2):
        await db.add_scheduled(once_body(AT))
    db.set_time(AT)
    await node.beat(lease=60)
    first, second = sorted(won.attempt for won in await node.claim())
    return first, second


async def written(node: DatabaseNode, *works: Attempt) -> list[bool]:
    """Finish attempts in one batch; return which outcomes were written."""
    batch = [FinishedAttempt(work, Delivered(), "executing") for work in works]
    return [result is not None for result in await node.finish_batch(*batch)]


@pytest.mark.parametrize("table", TABLES)
async def test_a_lock_delays_only_the_outcome_of_its_run(
    db: TimedDatabase, node: DatabaseNode, table: str
) -> None:
    first, second = await two_runs(db, node)
    both = [(first, "executing"), (second, "executing")]
    async with locked(db, table, first.campaign_id) as pid:
        assert await written(node, first, second) == [False, True]
        assert await node.firing.find_blocked(both) == {first.key: pid}
    assert await written(node, first) == [True]
    assert await node.firing.find_blocked(both) == {}
    for work in (first, second):
        await db.check_invariants(work.campaign_id)


async def test_an_outcome_waits_for_the_queued_run_that_it_promotes(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(daily_body(AT, overlap="queue"))
    db.set_time(AT)
    (won,) = await node.claim()
    db.advance(days(1))
    assert [won.made for won in await node.claim()] == ["queued"]
    async with db.database.transaction() as holder:
        lock = sa.text("SELECT 1 FROM runs WHERE status = 'queued' FOR UPDATE")
        await holder.execute(lock)
        assert await written(node, won.attempt) == [False]
        assert won.attempt.key in await node.firing.find_blocked([(won.attempt, "executing")])
        await db.check_invariants(campaign_id)
    (result,) = await node.finish(won.attempt)
    assert result.promoted
    await db.check_invariants(campaign_id)
    ((again,), _) = await node.claim_attempts()
    assert again.scheduled_for == AT + days(1)


@pytest.mark.parametrize("table", TABLES)
async def test_a_lock_delays_no_other_lease(
    db: TimedDatabase, node: DatabaseNode, table: str
) -> None:
    first, second = await two_runs(db, node)
    for work in (first, second):
        await node.finish(work, Accepted(5))
    leases = LeaseTable(db.database, node.firing._node, db.advance(seconds(6)))
    async with locked(db, table, first.campaign_id):
        assert [run.campaign_id for run in await leases.reclaim_expired([], 1)] == [
            second.campaign_id
        ]
        assert await leases.reclaim_expired([], 1) == []
    assert [run.campaign_id for run in await leases.reclaim_expired([], 1)] == [first.campaign_id]


@pytest.mark.parametrize("table", TABLES)
async def test_a_lock_delays_no_other_run_of_a_lost_node(
    db: TimedDatabase, node: DatabaseNode, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when a batch holds no more than the locked runs."""
    monkeypatch.setattr("storage.nodes.RECLAIM_BATCH", 1)
    other = await db.register_node("other")
    first, second = await two_runs(db, node)
    db.advance(seconds(61))
    async with locked(db, table, first.campaign_id):
        assert await other.take_over(node) == 1
        assert other.taken[0].campaign_id == second.campaign_id
    assert await other.take_over(node) == 1
    assert other.taken[0].campaign_id == first.campaign_id


@pytest.mark.parametrize("table", TABLES)
async def test_a_lock_delays_no_other_release(
    db: TimedDatabase, node: DatabaseNode, table: str
) -> None:
    first, second = await two_runs(db, node)
    async with locked(db, table, first.campaign_id) as pid:
        assert await node.release(first, second) == 1
        blocked = await node.firing.find_blocked([(first, "executing"), (second, "executing")])
        assert blocked == {first.key: pid}
        released, is_final = await node.firing.release_unacknowledged(set(), AT - seconds(1))
        assert (released, is_final) == (0, False)
    assert await node.firing.release_unacknowledged(set(), AT - seconds(1)) == (1, True)


@pytest.mark.parametrize("table", TABLES)
async def test_a_lock_delays_no_other_attempt(
    db: TimedDatabase, node: DatabaseNode, table: str
) -> None:
    first, second = await two_runs(db, node)
    for work in (first, second):
        await node.finish(work, Retry("busy", 1))
    db.advance(seconds(2))
    async with locked(db, table, first.campaign_id):
        ((again,), _) = await node.claim_attempts()
        assert again.campaign_id == second.campaign_id
    ((again,), _) = await node.claim_attempts()
    assert again.campaign_id == first.campaign_id
