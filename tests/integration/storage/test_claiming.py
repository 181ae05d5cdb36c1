"""Claiming: on time, once, by the database clock; and the results of late occurrences."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from daemon.domain.run.attempt import UNREAD, Attempt
from daemon.domain.run.claim_plan import plan
from daemon.domain.schedule.schedule import EventKind, TimedEvent
from daemon.runtime.clock import SystemClock
from daemon.runtime.node_identity import NodeIdentity
from storage import claim_rows
from storage.claim_rows import CLAIM_BYTES
from storage.runs import RunStore
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, days, hours, minutes, seconds
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import (
    GRACE,
    TICK,
    TimedDatabase,
    events_named,
    run_uuid,
    store_continuous,
)

# --- bytes -----------------------------------------------------------------------------------

BIG = {"a": "é" * 30_000}
"""Of 60,000 bytes: 70 of it fit into one claim."""


async def test_a_claim_has_a_bounded_number_of_bytes(db: TimedDatabase, node: DatabaseNode) -> None:
    """The events beyond the bound stay due and unchanged, and the next claim wins them."""
    small = [await db.add_scheduled(once_body(NOON + hours(1))) for _ in range(50)]
    big = [await db.add_scheduled(once_body(NOON + hours(1)), payload=BIG) for _ in range(100)]
    db.set_time(NOON + hours(1))
    first, second = await node.claim_in_parts()
    assert CLAIM_BYTES / 60_000 <= first - len(small) <= CLAIM_BYTES / 60_000 + 1
    assert first + second == 150
    for campaign_id in small + big:
        assert await db.run_statuses_of(campaign_id) == ["executing"]


async def test_a_payload_larger_than_the_bound_is_claimed(
    db: TimedDatabase, node: DatabaseNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator may have stored it with SQL; each claim has at least one run."""
    monkeypatch.setattr(claim_rows, "CLAIM_BYTES", 100)
    for _ in range(3):
        await db.add_scheduled(once_body(NOON + hours(1)), payload=BIG)
    db.set_time(NOON + hours(1))
    assert await node.claim_in_parts() == [1, 1, 1]


async def test_a_payload_is_not_read_for_a_target_that_does_not_send_it(
    db: TimedDatabase, node: DatabaseNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such runs count no bytes; other targets' payloads are read as ever."""
    monkeypatch.setattr(claim_rows, "CLAIM_BYTES", 100_000)
    at = NOON + hours(1)
    queued = {await db.add_scheduled(once_body(at), payload=BIG, target="table") for _ in range(5)}
    sent = await db.add_scheduled(once_body(at), payload=BIG)
    db.set_time(at)
    node.firing.now = db.now
    planned = [plan(item, db.now) for item in await db.due_events()]
    results, postponed = await node.firing.claim(planned, ["table", "other"])
    assert postponed == []
    attempts = [attempt for result in results for attempt in result.attempts]
    assert {each.campaign_id for each in attempts if each.payload is UNREAD} == queued
    assert [each.payload for each in attempts if each.campaign_id == sent] == [BIG]


# --- winning and losing ---------------------------------------------------------------------


async def test_an_occurrence_is_claimed_when_it_is_due(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_draft(target="log", payload={"a": [1, "ü"]})
    at = NOON + hours(1)
    await db.control.save_schedule(campaign_id, once_body(at), "tester")
    db.set_time(at - TICK)
    assert await node.claim([await db.armed_event_of(campaign_id)]) == []
    db.set_time(at)
    (won,) = await node.claim([await db.armed_event_of(campaign_id)])
    campaign = await db.read_campaign(campaign_id)
    assert won.attempt == Attempt(
        campaign_id=campaign_id,
        campaign_uuid=campaign.uuid,
        campaign_name="a campaign",
        run_id=run_uuid(campaign.uuid, at),
        scheduled_for=at,
        number=1,
        target="log",
        payload={"a": [1, "ü"]},
        claimed_at=at,
        start_before=at + GRACE,
    )
    (run,) = await db.runs_of(campaign_id)
    assert (run.id, run.scheduled_for, run.status) == (won.run_id, at, "executing")
    assert (run.node, run.attempt, run.claimed_at, run.started_at) == ("node", 1, at, at)
    assert await db.timer_of(campaign_id) is None


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 7, 1, 9, tzinfo=UTC),
        datetime(2026, 7, 1, 9, 30, 15, 1, tzinfo=UTC),
        datetime(2026, 7, 1, 9, tzinfo=ZoneInfo("Asia/Kathmandu")),
    ],
)
async def test_run_ids_are_uuid5_of_the_instant(
    db: TimedDatabase, node: DatabaseNode, at: datetime
) -> None:
    campaign_id = await db.add_scheduled(once_body(at))
    db.set_time(at.astimezone(UTC))
    await node.claim()
    (run,) = await db.runs_of(campaign_id)
    assert run.id == run_uuid((await db.read_campaign(campaign_id)).uuid, at)


async def test_a_clock_that_is_ahead_claims_nothing_early(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    before = await db.dump_rows(campaign_id)
    armed = await db.armed_event_of(campaign_id)
    for believes in (NOON + hours(1), NOON + hours(2) + TICK, NOON + days(400)):
        assert await node.claim([armed], believes=believes) == []
    assert await db.dump_rows(campaign_id) == before


@pytest.mark.parametrize("extras", [{}, {"coalesce": False}])
async def test_a_clock_that_is_ahead_misses_nothing(
    db: TimedDatabase, node: DatabaseNode, extras: dict[str, Any]
) -> None:
    """An occurrence that only the node considers missed is not written as missed."""
    campaign_id = await store_continuous(db, 60, days(1), misfire_grace_time=600, **extras)
    db.set_time(NOON + hours(1))
    await node.claim()  # the window opens
    db.advance(minutes(5))
    for ahead in (minutes(20), hours(3)):
        armed = await db.armed_event_of(campaign_id)
        await node.claim([armed], believes=db.now + ahead)
    assert "missed" not in await db.run_statuses_of(campaign_id)
    assert not [event for event in await db.events_of(campaign_id) if event.details]


async def test_a_stretch_is_missed_by_the_database_clock_only(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await store_continuous(db, 60, hours(3), misfire_grace_time=600)
    db.set_time(NOON + hours(1))
    await node.claim()
    armed = await db.armed_event_of(campaign_id)
    db.set_time(NOON + hours(4) + minutes(5))  # 181 were due, and the last six of them are in time
    assert await node.claim([armed], believes=db.now + minutes(6)) == []
    (won,) = await node.claim([armed])
    assert (won.made, won.scheduled_for) == ("executing", NOON + hours(4))
    assert await db.run_statuses_of(campaign_id) == ["missed", *["skipped"] * 5, "executing"]


@pytest.mark.parametrize("what", ["revision", "fire_at", "kind"])
async def test_a_stale_entry_loses(db: TimedDatabase, node: DatabaseNode, what: str) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    armed = await db.armed_event_of(campaign_id)
    db.set_time(NOON + days(2))
    if what == "revision":
        armed = armed._replace(revision=armed.revision - 1)
    elif what == "fire_at":
        at = armed.event.at + TICK
        armed = armed._replace(event=armed.event._replace(at=at), due_at=at)
    else:
        armed = armed._replace(event=TimedEvent(EventKind.CLOSE, armed.event.at, armed.event.local))
    before = await db.dump_rows(campaign_id)
    assert await node.claim([armed]) == []
    assert await db.dump_rows(campaign_id) == before


async def test_a_second_claim_of_the_same_entry_loses(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    armed = await db.due_events()
    assert len(await node.claim(armed)) == 1
    before = await db.dump_rows(campaign_id)
    assert await node.claim(armed) == []
    assert await node.claim(armed) == []
    assert await db.dump_rows(campaign_id) == before


async def test_several_nodes_claim_each_occurrence_once(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    ids = [await db.add_scheduled(daily_body(NOON + hours(1), overlap="allow")) for _ in range(30)]
    nodes = [node, await db.register_node("b"), await db.register_node("c")]
    won: list[Any] = []
    for _ in range(3):
        db.set_time(db.now + (hours(1) if db.now == NOON else days(1)))
        armed = await db.due_events()
        assert len(armed) == 30
        won_now: list[Any] = []
        while len(won_now) < 30:  # rows that are locked at the moment are claimed in the next round
            for found in await asyncio.gather(*(each.claim(armed) for each in nodes)):
                won_now += found
        won += won_now
        assert await db.due_events() == []
    assert len({(item.campaign_id, item.scheduled_for) for item in won}) == len(won) == 90
    runs = await db.rows("SELECT * FROM runs")
    assert len(runs) == 90
    assert {(run.campaign_id, run.scheduled_for, run.node) for run in runs} == {
        (item.campaign_id, item.scheduled_for, run.node)
        for run in runs
        for item in won
        if item.run_id == run.id
    }
    assert {item.campaign_id for item in won} == set(ids)


async def test_a_node_whose_lease_ended_claims_nothing(db: TimedDatabase) -> None:
    late = await db.register_node("late", lease=5)
    other = await db.register_node("other")
    campaign_id = await db.add_scheduled(once_body(NOON + seconds(5)))
    db.set_time(NOON + seconds(5))
    assert await late.claim() == []
    assert await db.run_statuses_of(campaign_id) == []
    assert await late.beat(lease=5) is not None
    assert len(await late.claim()) == 1
    (work,) = await db.executing_attempts(campaign_id)
    assert await other.release(work) == 0
    assert await late.release(work) == 1
    db.advance(seconds(6))
    assert await late.claim_attempts() == ([], [])
    assert len((await other.claim_attempts())[0]) == 1
    identity = NodeIdentity(SystemClock(), "stranger")
    stranger = DatabaseNode(db, "stranger", RunStore(db.database, identity), late.nodes)
    await db.add_scheduled(once_body(NOON + seconds(20)))
    db.advance(seconds(20))
    assert await stranger.claim() == []


async def test_a_locked_campaign_is_passed_over(db: TimedDatabase, node: DatabaseNode) -> None:
    held, free = [await db.add_scheduled(once_body(NOON + hours(1))) for _ in range(2)]
    db.set_time(NOON + hours(1))
    armed = await db.due_events()
    async with db.store.edit(held):
        async with asyncio.timeout(60):
            assert [won.campaign_id for won in await node.claim(armed)] == [free]
    assert [won.campaign_id for won in await node.claim(armed)] == [held]


# --- late occurrences -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "made"), [(timedelta(0), "executing"), (GRACE, "executing"), (GRACE + TICK, "missed")]
)
async def test_the_grace_is_inclusive(
    db: TimedDatabase, node: DatabaseNode, late: timedelta, made: str
) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1) + late)
    (won,) = await node.claim()
    assert won.made == made
    assert (won.attempt is None) == (made == "missed")
    (run,) = await db.runs_of(campaign_id)
    assert (run.status, run.attempt, run.started_at is None) == (
        made,
        int(made == "executing"),
        made == "missed",
    )


async def test_missed_occurrences_are_logged(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(3))
    await node.claim()
    event = (await db.events_of(campaign_id))[-1]
    (run,) = await db.runs_of(campaign_id)
    assert (event.event, event.cause, event.run_id) == ("passed", "missed: too late", run.id)
    assert (event.from_status, event.to_status) == ("scheduled", "failed")
    assert run.finished_at == db.now


async def test_coalesce_runs_the_newest(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1), misfire_grace_time=2 * 86400))
    db.set_time(NOON + hours(1) + days(5))
    (won,) = await node.claim()
    assert await db.due_events() == []
    assert won.scheduled_for == NOON + hours(1) + days(5)
    assert await db.run_statuses_of(campaign_id) == [*["missed"] * 3, *["skipped"] * 2, "executing"]
    causes = [event.cause for event in events_named(await db.events_of(campaign_id), "passed")]
    assert causes == [*["missed: too late"] * 3, *["skipped: coalesced"] * 2]
    assert (await db.timer_of(campaign_id)).fire_at == NOON + hours(1) + days(6)
    await db.check_invariants(campaign_id)


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_a_backlog_runs_one_after_the_other(
    db: TimedDatabase, node: DatabaseNode, overlap: str
) -> None:
    """Without coalesce, late occurrences wait for each other, whatever the overlap rule."""
    campaign_id = await db.add_scheduled(
        daily_body(NOON + hours(1), misfire_grace_time=2 * 86400, coalesce=False, overlap=overlap)
    )
    db.set_time(NOON + hours(1) + days(4))
    fired = []
    for _ in range(3):
        (won,) = await node.claim_all()
        assert won.made == "executing"
        assert await db.due_events() == []
        await db.check_invariants(campaign_id)
        fired.append(won.scheduled_for)
        await node.finish(won.attempt)
    assert fired == [NOON + hours(1) + days(number) for number in (2, 3, 4)]
    assert await node.claim_all() == []
    assert await db.run_statuses_of(campaign_id) == ["missed"] * 2 + ["completed"] * 3
    assert await db.status_of(campaign_id) == "launched"


async def test_a_backlog_runs_concurrently_where_overlap_is_allowed(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(
        daily_body(NOON + hours(1), misfire_grace_time=2 * 86400, coalesce=False, overlap="allow")
    )
    db.set_time(NOON + hours(1) + days(2))
    won = await node.claim_all()
    assert [item.made for item in won] == ["executing"] * 3
    assert (await db.read_campaign(campaign_id)).open_runs == 3


async def test_an_occurrence_that_waits_too_long_in_a_backlog_is_missed(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(
        daily_body(NOON + hours(1), misfire_grace_time=86400, coalesce=False)
    )
    db.set_time(NOON + hours(1) + days(1))
    (first,) = await node.claim_all()
    db.advance(days(1) + TICK)
    await node.finish(first.attempt)
    (won,) = await node.claim_all()
    assert (won.made, won.scheduled_for) == ("executing", NOON + hours(1) + days(2))
    assert await db.run_statuses_of(campaign_id) == ["completed", "missed", "executing"]


async def test_a_backlog_is_missed_while_paused(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(
        daily_body(NOON + hours(1), misfire_grace_time=5 * 86400, coalesce=False)
    )
    db.set_time(NOON + hours(1) + days(2))
    (first,) = await node.claim_all()
    await db.control.pause(campaign_id, "tester")
    assert [item.made for item in await node.claim_all()] == ["missed", "missed"]
    await node.finish(first.attempt)
    assert await db.status_of(campaign_id) == "paused"


async def test_more_than_a_hundred_missed_are_one_event(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await store_continuous(db, 60, days(2), misfire_grace_time=30)
    db.set_time(NOON + hours(1))
    await node.claim()
    before = len(await db.events_of(campaign_id))
    db.set_time(NOON + hours(6) + seconds(45))
    (won,) = await node.claim_all()
    newest = NOON + hours(6)
    assert (won.made, won.scheduled_for, won.to_status) == ("missed", newest, "launched")
    (run,) = await db.runs_of(campaign_id)
    assert (run.scheduled_for, run.status) == (newest, "missed")
    (event,) = (await db.events_of(campaign_id))[before:]
    assert (event.event, event.cause) == ("passed", "missed: too late")
    assert (event.run_id, event.scheduled_for) == (run.id, newest)
    assert event.details["count"] == 301
    assert datetime.fromisoformat(event.details["from"]) == NOON + hours(1)
    assert datetime.fromisoformat(event.details["to"]) == newest
    assert (await db.timer_of(campaign_id)).fire_at == newest + minutes(1)


async def test_more_than_a_hundred_missed_before_one_that_runs(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await store_continuous(db, 60, days(2), misfire_grace_time=30)
    db.set_time(NOON + hours(1))
    await node.claim()
    before = len(await db.events_of(campaign_id))
    db.set_time(NOON + hours(6) + seconds(15))
    (won,) = await node.claim_all()
    assert (won.made, won.scheduled_for) == ("executing", NOON + hours(6))
    missed, fired = await db.runs_of(campaign_id)
    assert (missed.scheduled_for, missed.status) == (NOON + hours(6) - minutes(1), "missed")
    passed, fire = (await db.events_of(campaign_id))[before:]
    assert (passed.event, passed.details["count"], passed.run_id) == ("passed", 300, missed.id)
    assert (fire.event, fire.run_id, fire.details) == ("fire", fired.id, None)


async def test_a_hundred_missed_are_a_hundred_rows(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await store_continuous(db, 60, days(2), misfire_grace_time=30)
    db.set_time(NOON + hours(1))
    await node.claim()
    db.set_time(NOON + hours(1) + minutes(99) + seconds(45))
    await node.claim_all()
    assert await db.run_statuses_of(campaign_id) == ["missed"] * 100
    assert len(events_named(await db.events_of(campaign_id), "passed")) == 100


async def test_warming_up_claims_nothing(db: TimedDatabase, node: DatabaseNode) -> None:
    """Warming up opens every kept connection, and leaves due events unchanged."""
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    db.advance(hours(1))
    await node.firing.warm()
    assert len(node.firing._database._idle) == node.firing._database.connections_kept
    assert await db.runs_of(campaign_id) == []
    assert len(await node.claim()) == 1
