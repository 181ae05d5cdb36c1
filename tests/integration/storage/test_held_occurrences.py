"""Occurrences that are held before their first attempt: open, and in no other run's way."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.domain.campaign.model import latest_start, run_id
from daemon.domain.run.attempt import ArmedEvent
from daemon.domain.run.claim_plan import PassedOccurrence, plan
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, hours
from tests.support.database_node import DatabaseNode, won_from
from tests.support.timed_database import TimedDatabase, events_named

AT = NOON + hours(1)
WHY = "held: too late"


async def hold(db: TimedDatabase, node: DatabaseNode, campaign_id: int, **extras: Any) -> Any:
    """Claim the campaign's due event so that its occurrence is held; return the result."""
    (armed,) = await db.due_events(campaign_id)
    node.firing.now = db.now
    request = plan(armed, db.now)._replace(**{"status": "held", "cause": WHY, **extras})
    results, _ = await node.firing.claim([request])
    (won,) = won_from([request], results)
    return won


async def held_daily(db: TimedDatabase, node: DatabaseNode, **fields: Any) -> int:
    """Store a daily campaign whose first occurrence is held."""
    campaign_id = await db.add_scheduled(daily_body(AT, **fields), kind="recurring")
    db.set_time(AT)
    await hold(db, node, campaign_id)
    return campaign_id


async def test_a_held_occurrence_is_an_open_run_without_an_attempt(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await held_daily(db, node)
    (run,) = await db.runs_of(campaign_id)
    assert (run.status, run.attempt, run.error, run.finished_at) == ("held", 0, WHY, None)
    campaign = await db.read_campaign(campaign_id)
    assert (campaign.status, campaign.open_runs, campaign.held_runs) == ("executing", 1, 1)
    event = (await db.events_of(campaign_id))[-1]
    assert (event.event, event.cause, event.run_id) == ("run_held", WHY, run.id)
    assert (await db.timer_of(campaign_id)).fire_at == AT + hours(24)
    await db.check_invariants(campaign_id)


async def test_a_one_off_does_not_end_while_it_is_held(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(once_body(AT))
    db.set_time(AT)
    won = await hold(db, node, campaign_id)
    assert (won.made, won.to_status) == ("held", "executing")
    assert await db.timer_of(campaign_id) is None
    await db.check_invariants(campaign_id)


@pytest.mark.parametrize("overlap", ["skip", "queue", "allow"])
async def test_a_held_occurrence_is_in_no_later_ones_way(
    db: TimedDatabase, node: DatabaseNode, overlap: str
) -> None:
    campaign_id = await held_daily(db, node, overlap=overlap)
    db.advance(hours(24))
    (won,) = await node.claim()
    assert won.made == "executing"
    await node.finish(won.attempt)
    assert await db.run_statuses_of(campaign_id) == ["held", "completed"]
    assert await db.status_of(campaign_id) == "executing"
    await db.check_invariants(campaign_id)


async def test_a_queued_run_is_promoted_beside_a_held_one(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await held_daily(db, node, overlap="queue")
    db.advance(hours(24))
    (open_run,) = await node.claim()
    db.advance(hours(24))
    (queued,) = await node.claim()
    assert queued.made == "queued"
    (finished,) = await node.finish(open_run.attempt)
    assert finished.promoted
    assert len((await node.claim_attempts())[0]) == 1
    await db.check_invariants(campaign_id)


async def test_occurrences_of_a_paused_campaign_are_missed_instead(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(daily_body(AT), kind="recurring")
    await db.control.pause(campaign_id, "tester")
    db.set_time(AT)
    won = await hold(db, node, campaign_id)
    assert won.made == "missed"
    assert (await db.events_of(campaign_id))[-1].cause == "missed: paused"
    await db.check_invariants(campaign_id)


async def test_a_stop_cancels_what_is_held(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await held_daily(db, node)
    await db.control.stop(campaign_id, "tester")
    assert await db.run_statuses_of(campaign_id) == ["cancelled"]
    assert (await db.read_campaign(campaign_id)).held_runs == 0
    await db.check_invariants(campaign_id)


def passed(armed: ArmedEvent, days: int, status: str) -> PassedOccurrence:
    at = AT + hours(24 * days)
    cause = f"{status}: why"
    return PassedOccurrence(
        at, run_id(armed.campaign_uuid, at), status, cause, latest_start(at, 3600)
    )


async def test_older_occurrences_of_a_stretch_can_be_held_too(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """Each has its row and its event; the newest decides nothing about the others."""
    campaign_id = await db.add_scheduled(daily_body(AT), kind="recurring")
    db.set_time(AT + hours(72))
    (armed,) = await db.due_events(campaign_id)
    older = tuple(passed(armed, n, status) for n, status in enumerate(("held", "skipped", "held")))
    await hold(db, node, campaign_id, older=older, bulk=())
    assert await db.run_statuses_of(campaign_id) == ["held", "skipped", "held", "held"]
    held = events_named(await db.events_of(campaign_id), "run_held")
    assert sorted(each.cause for each in held) == ["held: too late", "held: why", "held: why"]
    assert (await db.read_campaign(campaign_id)).held_runs == 3
    await db.check_invariants(campaign_id)
