"""Another node reclaims the runs of a lost node (docs/semantics.md#runs)."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Accepted, Reject
from storage.engine import Database
from storage.nodes import Nodes
from storage.runs import MAX_TAKEOVERS
from storage.session import connect_async, connection_string
from tests.support.builders import once_body
from tests.support.clocks import hours, seconds
from tests.support.database_node import DatabaseNode
from tests.support.fired import AT, reclaimed_run_of
from tests.support.timed_database import TICK, TimedDatabase, events_named


async def fired_on(db: TimedDatabase, node: DatabaseNode) -> tuple[int, Attempt]:
    """Like `fire_one_off`, with a heartbeat just before, as a live node has."""
    campaign_id = await db.add_scheduled(once_body(AT))
    db.set_time(AT)
    await node.beat(lease=5)
    (won,) = await node.claim()
    return campaign_id, won.attempt


async def test_the_runs_of_a_lost_node_are_reclaimed(db: TimedDatabase) -> None:
    lost, other = await db.register_node("lost", lease=5), await db.register_node("other")
    campaign_id, work = await fired_on(db, lost)
    db.advance(seconds(5))
    assert (await other.beat()).lost == []
    assert await other.take_over(lost) == 0, "its lease has not ended yet"
    db.advance(TICK)
    assert (await other.beat()).lost == ["lost"]
    assert await other.take_over(lost) == 1
    (run,) = await db.runs_of(campaign_id)
    assert (run.status, run.node, run.takeovers) == ("retrying", None, 1)
    assert run.next_attempt_at == db.now
    (event,) = events_named(await db.events_of(campaign_id), "run_retrying")
    assert (event.cause, event.actor) == ("taken over from lost", "other")
    assert (await other.beat()).lost == [], "it is forgotten"
    assert await lost.beat() is None, "its place is gone"

    ((again,), _) = await other.claim_attempts()
    assert (again.number, again.takeovers, again.run_id) == (2, 1, work.run_id)
    before = await db.dump_rows(campaign_id)
    assert await lost.finish(work) == []
    assert await lost.fail(work) == []
    assert await lost.release(work) == 0
    assert await db.dump_rows(campaign_id) == before
    (written,) = await other.finish(again)
    assert written.to_status == "completed"
    assert await lost.finish(work) == []


async def test_runs_are_held_where_the_target_cannot_recognise_a_repeat(
    db: TimedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node logs each run once, whatever the number of batches."""
    monkeypatch.setattr("storage.nodes.RECLAIM_BATCH", 2)
    nodes = [await db.register_node(name, lease=5) for name in ("lost", "b", "c")]
    lost, *others = nodes
    campaigns = [await db.add_scheduled(once_body(AT)) for _ in range(5)]
    db.set_time(AT)
    await lost.beat(lease=5)
    won = {each.campaign_id: each.attempt for each in await lost.claim()}
    db.advance(seconds(6))
    for each in others:
        await each.beat(lease=60)
        each.hold_targets = ["log"]
    await asyncio.gather(*(each.take_over(lost) for each in others))
    error = "its node was lost: lost"
    said = sorted((run for each in others for run in each.taken), key=lambda r: r.campaign_id)
    assert said == [reclaimed_run_of(won[number], "held", error) for number in campaigns]
    assert [(await db.runs_of(number))[0].status for number in campaigns] == ["held"] * 5


async def test_a_late_result_with_the_newer_attempt_is_refused_too(db: TimedDatabase) -> None:
    """The attempt alone does not suffice: node and attempt must both match."""
    lost, other = await db.register_node("lost", lease=5), await db.register_node("other")
    campaign_id, _ = await fired_on(db, lost)
    db.advance(seconds(6))
    await other.take_over(lost)
    ((again,), _) = await other.claim_attempts()
    before = await db.dump_rows(campaign_id)
    assert await lost.finish(again) == []
    assert await db.dump_rows(campaign_id) == before


async def test_ten_lost_nodes_end_a_run(db: TimedDatabase) -> None:
    other = await db.register_node("other")
    lost = await db.register_node("lost-0", lease=5)
    campaign_id, _ = await fired_on(db, lost)
    for number in range(1, MAX_TAKEOVERS + 1):
        db.advance(seconds(6))
        assert await other.take_over(lost) == 1
        lost = await db.register_node(f"lost-{number}", lease=5)
        works, late = await lost.claim_attempts()
        if number < MAX_TAKEOVERS:
            assert (works[0].number, works[0].takeovers, late) == (number + 1, number, [])
    assert works == []
    assert (MAX_TAKEOVERS, late[0].outcome) == (10, Reject("given up: its node was lost 10 times"))
    (run,) = await db.runs_of(campaign_id)
    assert (run.status, run.attempt, run.takeovers) == ("failed", 10, 10)
    assert await db.status_of(campaign_id) == "failed"


async def test_accepted_runs_are_not_reclaimed_with_their_node(db: TimedDatabase) -> None:
    lost, other = await db.register_node("lost", lease=5), await db.register_node("other")
    campaign_id, work = await fired_on(db, lost)
    await lost.finish(work, Accepted(3600))
    db.advance(seconds(6))
    assert await other.take_over(lost) == 0
    assert await lost.beat() is None
    assert await db.run_statuses_of(campaign_id) == ["executing"]


async def test_every_run_is_found_whatever_the_mark(db: TimedDatabase) -> None:
    """The mark only makes the search quick; a clock that was set back hides nothing."""
    lost, other = await db.register_node("lost", lease=5), await db.register_node("other")
    first, _ = await fired_on(db, lost)
    db.set_time(AT + hours(2))
    await lost.beat(lease=5, oldest_claim_at=db.now)
    db.advance(seconds(6))
    assert await other.take_over(lost) == 1
    assert await db.run_statuses_of(first) == ["retrying"]
    assert await lost.beat() is None


async def test_two_nodes_reclaim_at_once(db: TimedDatabase) -> None:
    lost, b, c = [await db.register_node(name, lease=5) for name in ("lost", "b", "c")]
    campaigns = [await db.add_scheduled(once_body(AT)) for _ in range(20)]
    db.set_time(AT)
    for each in (lost, b, c):
        await each.beat(lease=5)
    assert len(await lost.claim()) == 20
    db.advance(seconds(4))
    await b.beat(lease=60)
    await c.beat(lease=60)
    db.advance(seconds(2))
    async with asyncio.timeout(60):
        assert sum(await asyncio.gather(b.take_over(lost), c.take_over(lost))) == 20
    for campaign_id in campaigns:
        (run,) = await db.runs_of(campaign_id)
        assert (run.status, run.takeovers) == ("retrying", 1)


async def test_a_locked_campaign_blocks_no_other(db: TimedDatabase, database_url: str) -> None:
    """The run of a campaign locked by a stopped session is reclaimed when the session ends."""
    lost, other = [await db.register_node(name, lease=5) for name in ("lost", "other")]
    held, free = [await db.add_scheduled(once_body(AT)) for _ in range(2)]
    db.set_time(AT)
    await lost.beat(lease=5)
    await other.beat(lease=60)
    assert len(await lost.claim()) == 2
    db.advance(seconds(6))
    async with await psycopg.AsyncConnection.connect(database_url) as session:
        await session.execute("SELECT 1 FROM campaigns WHERE id = %s FOR UPDATE", [held])
        async with asyncio.timeout(60):
            assert await other.take_over(lost) == 1
        assert await db.run_statuses_of(free) == ["retrying"]
        assert await db.run_statuses_of(held) == ["executing"]
        assert (await other.beat(lease=60)).lost == ["lost"], "there is more to do"
        await session.rollback()
    assert await other.take_over(lost) == 1
    assert (await other.beat(lease=60)).lost == []


TAG = "0a1b2c"


async def frozen(url: str, name: str, campaign_id: int) -> psycopg.AsyncConnection[Any]:
    """Return a session of a process that is frozen in a transaction, with a row locked."""
    session = await connect_async(connection_string(url, name), psycopg.AsyncConnection)
    await session.set_autocommit(False)
    await session.execute("SELECT 1 FROM campaigns WHERE id = %s FOR UPDATE", [campaign_id])
    return session


@pytest.mark.parametrize("sessions", ["campaignd-", "campaignd-api-"])
@pytest.mark.parametrize("name_in_the_url", ["", "billing", "x" * 63])
async def test_the_locks_of_a_frozen_process_are_released(
    db: TimedDatabase, database_url: str, sessions: str, name_in_the_url: str
) -> None:
    """A process frozen in a transaction blocks no row for the rescuing node."""
    lost, other = await db.register_node(f"lost-{TAG}", lease=5), await db.register_node("other")
    campaign_id, _ = await fired_on(db, lost)
    db.advance(seconds(6))
    url = make_conninfo(database_url, application_name=name_in_the_url)
    session = await frozen(url, sessions + TAG, campaign_id)
    bystander = await connect_async(
        connection_string(url, "campaignd-ffffff"), psycopg.AsyncConnection
    )
    try:
        async with asyncio.timeout(60):
            assert await other.take_over(lost) == 1
        assert other.not_ended == []
        with pytest.raises(psycopg.OperationalError):
            await session.execute("SELECT 1")
        await bystander.execute("SELECT 1")
    finally:
        await session.close()
        await bystander.close()
    ((again,), _) = await other.claim_attempts()
    assert again.number == 2


@pytest.mark.parametrize(
    ("granted", "is_ended"), [("pg_signal_backend", True), ("lost", True), ("none", False)]
)
async def test_sessions_of_other_roles_are_ended_or_named(
    db: TimedDatabase, superuser_url: str, granted: str, is_ended: bool
) -> None:
    """Nodes may log in as different roles; without the right, the role is reported."""
    lost = await db.register_node(f"lost-{TAG}", lease=5)
    campaign_id, _ = await fired_on(db, lost)
    db.advance(seconds(6))
    roles = {name: f"{name}_{uuid4().hex}" for name in ("lost", "rescuer")}
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as owner:
        for role in roles.values():
            await owner.execute(f"CREATE ROLE {role} LOGIN".encode())
            await owner.execute(
                f"GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}".encode()
            )
        if granted != "none":
            right = roles.get(granted, granted)
            await owner.execute(f"GRANT {right} TO {roles['rescuer']}".encode())
        url = make_conninfo(superuser_url, user=roles["lost"])
        session = await frozen(url, f"campaignd-{TAG}", campaign_id)
        database = Database(make_conninfo(superuser_url, user=roles["rescuer"]))
        try:
            left = await Nodes(database, db.now).end_sessions(lost.name)
            assert left == ([] if is_ended else [roles["lost"]])
            if is_ended:
                with pytest.raises(psycopg.OperationalError):
                    await session.execute("SELECT 1")
            else:
                await session.execute("SELECT 1")
        finally:
            await session.close()
            await database.close()
            for role in roles.values():
                await owner.execute(f"DROP OWNED BY {role}".encode())
                await owner.execute(f"DROP ROLE {role}".encode())
