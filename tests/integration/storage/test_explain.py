"""Why a campaign ran at an instant, or did not, from the stored evidence."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from daemon.domain.campaign.explain import Evidence, explain_instant
from daemon.domain.run.outcome import Delivered
from storage.explain_reads import ExplainReads
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, days, hours, minutes
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase

MINUTE = timedelta(minutes=1)


async def record(db: TimedDatabase, campaign_id: int, at: datetime, *, nodes: int = 1) -> Evidence:
    """Return the evidence, with the clock of the test."""
    found = await ExplainReads(db.database).read_evidence(campaign_id, at, MINUTE)
    return dataclasses.replace(
        found,
        now=db.now,
        live_nodes=nodes,
        saved_at=NOON,
        campaign=dataclasses.replace(found.campaign, created_at=NOON),
    )


async def explained(db: TimedDatabase, campaign_id: int, at: datetime, *, nodes: int = 1) -> str:
    """Return the explanation."""
    return explain_instant(await record(db, campaign_id, at, nodes=nodes))


async def test_it_ran(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    (won,) = await node.claim()
    assert "it is in progress" in await explained(db, campaign_id, NOON + hours(1))
    await node.finish(won.attempt, Delivered())
    found = await record(db, campaign_id, NOON + hours(1))
    assert explain_instant(found).startswith(
        "it ran: started at 2026-06-01T13:00:00Z, 0.000 s late, attempt 1"
    )
    assert next(event.event for event in found.run_events) == "fire"


async def test_a_minute_covers_all_its_seconds(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1) + timedelta(seconds=17)))
    db.set_time(NOON + hours(2))
    await node.claim()
    found = await record(db, campaign_id, NOON + hours(1))
    assert found.run is not None
    assert found.at == NOON + hours(1) + timedelta(seconds=17)


async def test_it_failed(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    (won,) = await node.claim()
    await node.fail(won.attempt, "connection refused")
    assert "it failed: connection refused" in await explained(db, campaign_id, NOON + hours(1))


async def test_missed_while_paused(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    db.set_time(NOON + minutes(30))
    await db.control.pause(campaign_id, "ann")
    ahead = await explained(db, campaign_id, NOON + hours(1))
    assert ahead == "the campaign is paused: it will be missed unless it is started before"
    db.set_time(NOON + hours(1))
    await node.claim()
    said = await explained(db, campaign_id, NOON + hours(1))
    assert said.startswith("missed: paused since 2026-06-01T12:30:00Z by ann")


async def test_too_late(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(9))
    await node.claim()
    said = await explained(db, campaign_id, NOON + hours(1))
    assert said == "missed: too late; decided at 2026-06-01T21:00:00Z"


async def test_skipped_for_an_open_run(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    await node.claim()
    db.advance(days(1))
    await node.claim()
    said = await explained(db, campaign_id, NOON + hours(1) + days(1))
    assert said.startswith("skipped: a run is open")


async def test_one_of_many(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    db.set_time(NOON + days(113))
    await node.claim()
    said = await explained(db, campaign_id, NOON + hours(1) + days(50))
    assert said.startswith("missed: too late: one of 1"), said


async def test_no_node_claimed_it(db: TimedDatabase) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    at = NOON + hours(1)
    assert await explained(db, campaign_id, at) == "it is still ahead, and will run"
    db.set_time(NOON + hours(2))
    assert "no node is alive" in await explained(db, campaign_id, at, nodes=0)
    assert "due and not claimed yet" in await explained(db, campaign_id, at)


async def test_no_occurrence_then(db: TimedDatabase) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    db.set_time(NOON + days(3))
    said = await explained(db, campaign_id, NOON + days(2))
    assert said == (
        "the schedule has no occurrence at that instant; "
        "the previous one is at 2026-06-02T13:00:00Z, the next one is at 2026-06-03T13:00:00Z"
    )


async def test_never_started(db: TimedDatabase) -> None:
    campaign_id = await db.add_draft()
    db.set_time(NOON + days(1))
    said = await explained(db, campaign_id, NOON + hours(1))
    assert said == "the campaign has no schedule"


async def test_changed_since(db: TimedDatabase) -> None:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1)))
    db.set_time(NOON + minutes(90))
    await db.control.save_schedule(campaign_id, daily_body(NOON + hours(5)), "ben")
    said = await explained(db, campaign_id, NOON + hours(1) + minutes(5))
    assert "changed after it, at 2026-06-01T13:30:00Z by ben" in said
