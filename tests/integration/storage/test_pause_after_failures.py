"""A campaign is paused when its runs fail one after the other (docs/semantics.md#runs)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from daemon.maintenance.failure_watch import FailureWatch
from daemon.runtime.clock import SystemClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from tests.support.builders import daily_body
from tests.support.capture import CapturedEvents
from tests.support.clocks import NOON, days, hours
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase, events_named

FIRST = NOON + hours(1)


@pytest.fixture
def emitted(db: TimedDatabase) -> CapturedEvents:
    events = CapturedEvents()
    db.control._emit = events
    return events


@pytest.fixture
def watch(db: TimedDatabase, emitted: CapturedEvents) -> FailureWatch:
    clock = SystemClock()
    health = DatabaseHealth(emitted, clock)
    return FailureWatch(db.control, NodeIdentity(clock, "node-1"), health=health)


async def run_days(
    db: TimedDatabase, node: DatabaseNode, watch: FailureWatch, campaign_id: int, *outcomes: str
) -> list[str]:
    """Let the daily runs end like this; return the status of the campaign after each."""
    statuses = []
    for outcome in outcomes:
        event = await db.armed_event_of(campaign_id)
        late = hours(2) if outcome == "missed" else timedelta()
        db.set_time(event.event.at + late)
        (won,) = await node.claim(await db.due_events(campaign_id))
        if outcome == "failed":
            await node.fail(won.attempt)
            watch.on_failed([campaign_id])
        elif outcome == "completed":
            await node.finish(won.attempt)
        elif outcome == "stopped":
            await db.control.stop(campaign_id, "ann")
        await watch.run_once()
        statuses.append(await db.status_of(campaign_id))
    return statuses


async def test_j5_1_the_third_failure_in_a_row_pauses(
    db: TimedDatabase, node: DatabaseNode, watch: FailureWatch, emitted: CapturedEvents
) -> None:
    campaign_id = await db.add_scheduled(daily_body(FIRST, pause_after_failures=3))
    outcomes = ("failed", "failed", "completed", "failed", "failed", "failed")
    found = await run_days(db, node, watch, campaign_id, *outcomes)
    assert found == ["launched"] * 5 + ["paused"]
    event = events_named(await db.events_of(campaign_id), "pause")[-1]
    assert (event.actor, event.cause) == ("node-1", "3 runs in a row failed")
    (logged,) = emitted.named("campaign_paused")
    assert (logged["campaign_id"], logged["cause"], logged["count"]) == (campaign_id, "failures", 3)
    await db.check_invariants(campaign_id)


async def test_j5_2_a_missed_run_counts_neither_way(
    db: TimedDatabase, node: DatabaseNode, watch: FailureWatch
) -> None:
    campaign_id = await db.add_scheduled(daily_body(FIRST, pause_after_failures=3))
    found = await run_days(db, node, watch, campaign_id, "failed", "failed", "missed", "failed")
    assert found == ["launched"] * 3 + ["paused"]


async def test_j5_3_a_run_that_a_person_stopped_is_no_failure(
    db: TimedDatabase, node: DatabaseNode, watch: FailureWatch, emitted: CapturedEvents
) -> None:
    campaign_id = await db.add_scheduled(daily_body(FIRST, pause_after_failures=3))
    found = await run_days(db, node, watch, campaign_id, "failed", "failed", "stopped")
    assert found == ["launched", "launched", "cancelled"]
    watch.on_failed([campaign_id])
    await watch.run_once()
    assert await db.status_of(campaign_id) == "cancelled"
    assert emitted.named("campaign_paused") == []


async def test_a_saved_schedule_begins_anew_and_a_0_ends_it(
    db: TimedDatabase, node: DatabaseNode, watch: FailureWatch
) -> None:
    campaign_id = await db.add_scheduled(daily_body(FIRST, pause_after_failures=2))
    assert await run_days(db, node, watch, campaign_id, "failed") == ["launched"]
    again = daily_body(FIRST + days(1))
    await db.control.save_schedule(campaign_id, again, "ann")
    assert (await db.definition_of(campaign_id)).body["pause_after_failures"] == 2
    found = await run_days(db, node, watch, campaign_id, "failed", "failed")
    assert found == ["launched", "paused"]
    never = {**daily_body(FIRST + days(5)), "pause_after_failures": 0}
    await db.control.save_schedule(campaign_id, never, "ann")
    assert "pause_after_failures" not in (await db.definition_of(campaign_id)).body
    await db.control.start(campaign_id, "ann")
    found = await run_days(db, node, watch, campaign_id, "failed", "failed", "failed")
    assert found == ["launched"] * 3


async def test_a_schedule_without_it_is_never_paused(
    db: TimedDatabase, node: DatabaseNode, watch: FailureWatch
) -> None:
    campaign_id = await db.add_scheduled(daily_body(FIRST))
    assert await run_days(db, node, watch, campaign_id, *["failed"] * 4) == ["launched"] * 4
