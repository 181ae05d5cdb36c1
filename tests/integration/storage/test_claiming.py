"""Claiming: on time, once, by the database clock; and the results of late occurrences."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from daemon.domain.run.attempt import Attempt
from daemon.domain.schedule.schedule import EventKind, TimedEvent
from daemon.runtime.clock import SystemClock
from daemon.runtime.node_identity import NodeIdentity
from storage.runs import RunStore
from tests.support.database_world import (
    GRACE,
    NOON,
    TICK,
    Node,
    World,
    continuous,
    daily,
    days,
    events_named,
    hours,
    minutes,
    once,
    run_uuid,
    seconds,
)

# --- winning and losing ---------------------------------------------------------------------


async def test_an_occurrence_is_claimed_when_it_is_due(world: World, node: Node) -> None:
    campaign_id = await world.create(target="log", payload={"a": [1, "ü"]})
    at = NOON + hours(1)
    await world.control.save_schedule(campaign_id, once(at), "tester")
    world.set(at - TICK)
    assert await node.claim([await world.armed(campaign_id)]) == []
    world.set(at)
    (won,) = await node.claim([await world.armed(campaign_id)])
    campaign = await world.campaign(campaign_id)
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
    (run,) = await world.runs(campaign_id)
    assert (run.id, run.scheduled_for, run.status) == (won.run_id, at, "executing")
    assert (run.node, run.attempt, run.claimed_at, run.started_at) == ("node", 1, at, at)
    assert await world.timer(campaign_id) is None


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 7, 1, 9, tzinfo=UTC),
        datetime(2026, 7, 1, 9, 30, 15, 1, tzinfo=UTC),
        datetime(2026, 7, 1, 9, tzinfo=ZoneInfo("Asia/Kathmandu")),
    ],
)
async def test_run_ids_are_uuid5_of_the_instant(world: World, node: Node, at: datetime) -> None:
    campaign_id = await world.saved(once(at))
    world.set(at.astimezone(UTC))
    await node.claim()
    (run,) = await world.runs(campaign_id)
    assert run.id == run_uuid((await world.campaign(campaign_id)).uuid, at)


async def test_a_clock_that_is_ahead_claims_nothing_early(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1)))
    before = await world.dump(campaign_id)
    armed = await world.armed(campaign_id)
    for believes in (NOON + hours(1), NOON + hours(2) + TICK, NOON + days(400)):
        assert await node.claim([armed], believes=believes) == []
    assert await world.dump(campaign_id) == before


@pytest.mark.parametrize("extras", [{}, {"coalesce": False}])
async def test_a_clock_that_is_ahead_misses_nothing(
    world: World, node: Node, extras: dict[str, Any]
) -> None:
    """An occurrence that only the node considers missed is not written as missed."""
    campaign_id = await continuous(world, 60, days(1), misfire_grace_time=600, **extras)
    world.set(NOON + hours(1))
    await node.claim()  # the window opens
    world.after(minutes(5))
    for ahead in (minutes(20), hours(3)):
        armed = await world.armed(campaign_id)
        await node.claim([armed], believes=world.now + ahead)
    assert "missed" not in await world.run_statuses(campaign_id)
    assert not [event for event in await world.events(campaign_id) if event.details]


async def test_a_stretch_is_missed_by_the_database_clock_only(world: World, node: Node) -> None:
    campaign_id = await continuous(world, 60, hours(3), misfire_grace_time=600)
    world.set(NOON + hours(1))
    await node.claim()
    armed = await world.armed(campaign_id)
    world.set(NOON + hours(4) + minutes(5))  # 181 were due, and the last six of them are in time
    assert await node.claim([armed], believes=world.now + minutes(6)) == []
    (won,) = await node.claim([armed])
    assert (won.made, won.scheduled_for) == ("executing", NOON + hours(4))
    assert await world.run_statuses(campaign_id) == ["missed", *["skipped"] * 5, "executing"]


@pytest.mark.parametrize("what", ["revision", "fire_at", "kind"])
async def test_a_stale_entry_loses(world: World, node: Node, what: str) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1)))
    armed = await world.armed(campaign_id)
    world.set(NOON + days(2))
    if what == "revision":
        armed = armed._replace(revision=armed.revision - 1)
    elif what == "fire_at":
        armed = armed._replace(event=armed.event._replace(at=armed.event.at + TICK))
    else:
        armed = armed._replace(event=TimedEvent(EventKind.CLOSE, armed.event.at, armed.event.local))
    before = await world.dump(campaign_id)
    assert await node.claim([armed]) == []
    assert await world.dump(campaign_id) == before


async def test_a_second_claim_of_the_same_entry_loses(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1)))
    world.set(NOON + hours(1))
    armed = await world.due()
    assert len(await node.claim(armed)) == 1
    before = await world.dump(campaign_id)
    assert await node.claim(armed) == []
    assert await node.claim(armed) == []
    assert await world.dump(campaign_id) == before


async def test_several_nodes_claim_each_occurrence_once(world: World, node: Node) -> None:
    ids = [await world.saved(daily(NOON + hours(1), overlap="allow")) for _ in range(30)]
    nodes = [node, await world.node("b"), await world.node("c")]
    won: list[Any] = []
    for _ in range(3):
        world.set(world.now + (hours(1) if world.now == NOON else days(1)))
        armed = await world.due()
        assert len(armed) == 30
        won_now: list[Any] = []
        while len(won_now) < 30:  # rows that are locked at the moment are claimed in the next round
            for found in await asyncio.gather(*(each.claim(armed) for each in nodes)):
                won_now += found
        won += won_now
        assert await world.due() == []
    assert len({(item.campaign_id, item.scheduled_for) for item in won}) == len(won) == 90
    runs = await world.rows("SELECT * FROM runs")
    assert len(runs) == 90
    assert {(run.campaign_id, run.scheduled_for, run.node) for run in runs} == {
        (item.campaign_id, item.scheduled_for, run.node)
        for run in runs
        for item in won
        if item.run_id == run.id
    }
    assert {item.campaign_id for item in won} == set(ids)


async def test_a_node_whose_lease_ended_claims_nothing(world: World) -> None:
    late = await world.node("late", lease=5)
    other = await world.node("other")
    campaign_id = await world.saved(once(NOON + seconds(5)))
    world.set(NOON + seconds(5))
    assert await late.claim() == []
    assert await world.run_statuses(campaign_id) == []
    assert await late.beat(lease=5) is not None
    assert len(await late.claim()) == 1
    (work,) = await world.works(campaign_id)
    assert await other.release(work) == 0
    assert await late.release(work) == 1
    world.after(seconds(6))
    assert await late.attempts() == ([], [])
    assert len((await other.attempts())[0]) == 1
    identity = NodeIdentity(SystemClock(), "stranger")
    stranger = Node(world, "stranger", RunStore(world.database, identity), late.nodes)
    await world.saved(once(NOON + seconds(20)))
    world.after(seconds(20))
    assert await stranger.claim() == []


async def test_a_locked_campaign_is_passed_over(world: World, node: Node) -> None:
    held, free = [await world.saved(once(NOON + hours(1))) for _ in range(2)]
    world.set(NOON + hours(1))
    armed = await world.due()
    async with world.store.edit(held):
        async with asyncio.timeout(60):
            assert [won.campaign_id for won in await node.claim(armed)] == [free]
    assert [won.campaign_id for won in await node.claim(armed)] == [held]


# --- late occurrences -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late", "made"), [(timedelta(0), "executing"), (GRACE, "executing"), (GRACE + TICK, "missed")]
)
async def test_the_grace_is_inclusive(world: World, node: Node, late: timedelta, made: str) -> None:
    campaign_id = await world.saved(once(NOON + hours(1)))
    world.set(NOON + hours(1) + late)
    (won,) = await node.claim()
    assert won.made == made
    assert (won.attempt is None) == (made == "missed")
    (run,) = await world.runs(campaign_id)
    assert (run.status, run.attempt, run.started_at is None) == (
        made,
        int(made == "executing"),
        made == "missed",
    )


async def test_missed_occurrences_are_logged(world: World, node: Node) -> None:
    campaign_id = await world.saved(once(NOON + hours(1)))
    world.set(NOON + hours(3))
    await node.claim()
    event = (await world.events(campaign_id))[-1]
    (run,) = await world.runs(campaign_id)
    assert (event.event, event.cause, event.run_id) == ("passed", "missed: too late", run.id)
    assert (event.from_status, event.to_status) == ("scheduled", "failed")
    assert run.finished_at == world.now


async def test_coalesce_runs_the_newest(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1), misfire_grace_time=2 * 86400))
    world.set(NOON + hours(1) + days(5))
    (won,) = await node.claim()
    assert await world.due() == []
    assert won.scheduled_for == NOON + hours(1) + days(5)
    assert await world.run_statuses(campaign_id) == [*["missed"] * 3, *["skipped"] * 2, "executing"]
    causes = [event.cause for event in events_named(await world.events(campaign_id), "passed")]
    assert causes == [*["missed: too late"] * 3, *["skipped: coalesced"] * 2]
    assert (await world.timer(campaign_id)).fire_at == NOON + hours(1) + days(6)
    await world.check(campaign_id)


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_a_backlog_runs_one_after_the_other(world: World, node: Node, overlap: str) -> None:
    """Without coalesce, late occurrences wait for each other, whatever the overlap rule."""
    campaign_id = await world.saved(
        daily(NOON + hours(1), misfire_grace_time=2 * 86400, coalesce=False, overlap=overlap)
    )
    world.set(NOON + hours(1) + days(4))
    fired = []
    for _ in range(3):
        (won,) = await node.claim_all()
        assert won.made == "executing"
        assert await world.due() == []
        await world.check(campaign_id)
        fired.append(won.scheduled_for)
        await node.finish(won.attempt)
    assert fired == [NOON + hours(1) + days(number) for number in (2, 3, 4)]
    assert await node.claim_all() == []
    assert await world.run_statuses(campaign_id) == ["missed"] * 2 + ["completed"] * 3
    assert await world.status(campaign_id) == "launched"


async def test_a_backlog_runs_concurrently_where_overlap_is_allowed(
    world: World, node: Node
) -> None:
    campaign_id = await world.saved(
        daily(NOON + hours(1), misfire_grace_time=2 * 86400, coalesce=False, overlap="allow")
    )
    world.set(NOON + hours(1) + days(2))
    won = await node.claim_all()
    assert [item.made for item in won] == ["executing"] * 3
    assert (await world.campaign(campaign_id)).open_runs == 3


async def test_an_occurrence_that_waits_too_long_in_a_backlog_is_missed(
    world: World, node: Node
) -> None:
    campaign_id = await world.saved(
        daily(NOON + hours(1), misfire_grace_time=86400, coalesce=False)
    )
    world.set(NOON + hours(1) + days(1))
    (first,) = await node.claim_all()
    world.after(days(1) + TICK)
    await node.finish(first.attempt)
    (won,) = await node.claim_all()
    assert (won.made, won.scheduled_for) == ("executing", NOON + hours(1) + days(2))
    assert await world.run_statuses(campaign_id) == ["completed", "missed", "executing"]


async def test_a_backlog_is_missed_while_paused(world: World, node: Node) -> None:
    campaign_id = await world.saved(
        daily(NOON + hours(1), misfire_grace_time=5 * 86400, coalesce=False)
    )
    world.set(NOON + hours(1) + days(2))
    (first,) = await node.claim_all()
    await world.control.pause(campaign_id, "tester")
    assert [item.made for item in await node.claim_all()] == ["missed", "missed"]
    await node.finish(first.attempt)
    assert await world.status(campaign_id) == "paused"


async def test_more_than_a_hundred_missed_are_one_event(world: World, node: Node) -> None:
    campaign_id = await continuous(world, 60, days(2), misfire_grace_time=30)
    world.set(NOON + hours(1))
    await node.claim()
    before = len(await world.events(campaign_id))
    world.set(NOON + hours(6) + seconds(45))
    (won,) = await node.claim_all()
    newest = NOON + hours(6)
    assert (won.made, won.scheduled_for, won.to_status) == ("missed", newest, "launched")
    (run,) = await world.runs(campaign_id)
    assert (run.scheduled_for, run.status) == (newest, "missed")
    (event,) = (await world.events(campaign_id))[before:]
    assert (event.event, event.cause) == ("passed", "missed: too late")
    assert (event.run_id, event.scheduled_for) == (run.id, newest)
    assert event.details["count"] == 301
    assert datetime.fromisoformat(event.details["from"]) == NOON + hours(1)
    assert datetime.fromisoformat(event.details["to"]) == newest
    assert (await world.timer(campaign_id)).fire_at == newest + minutes(1)


async def test_more_than_a_hundred_missed_before_one_that_runs(world: World, node: Node) -> None:
    campaign_id = await continuous(world, 60, days(2), misfire_grace_time=30)
    world.set(NOON + hours(1))
    await node.claim()
    before = len(await world.events(campaign_id))
    world.set(NOON + hours(6) + seconds(15))
    (won,) = await node.claim_all()
    assert (won.made, won.scheduled_for) == ("executing", NOON + hours(6))
    missed, fired = await world.runs(campaign_id)
    assert (missed.scheduled_for, missed.status) == (NOON + hours(6) - minutes(1), "missed")
    passed, fire = (await world.events(campaign_id))[before:]
    assert (passed.event, passed.details["count"], passed.run_id) == ("passed", 300, missed.id)
    assert (fire.event, fire.run_id, fire.details) == ("fire", fired.id, None)


async def test_a_hundred_missed_are_a_hundred_rows(world: World, node: Node) -> None:
    campaign_id = await continuous(world, 60, days(2), misfire_grace_time=30)
    world.set(NOON + hours(1))
    await node.claim()
    world.set(NOON + hours(1) + minutes(99) + seconds(45))
    await node.claim_all()
    assert await world.run_statuses(campaign_id) == ["missed"] * 100
    assert len(events_named(await world.events(campaign_id), "passed")) == 100


async def test_warming_up_claims_nothing(world: World, node: Node) -> None:
    """Warming up opens every kept connection, and leaves due events unchanged."""
    campaign_id = await world.saved(once(NOON + hours(1)))
    world.after(hours(1))
    await node.firing.warm()
    assert node.firing._database._pool.checkedin() == node.firing._database.connections_kept
    assert await world.runs(campaign_id) == []
    assert len(await node.claim()) == 1
