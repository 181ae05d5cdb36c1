"""An occurrence is due while a run of its campaign is open (docs/semantics.md#runs)."""

from __future__ import annotations

import asyncio

from daemon.domain.run.attempt import Attempt, FinishedAttempt
from daemon.domain.run.outcome import Delivered, Reject
from tests.support.builders import daily_body
from tests.support.clocks import NOON, days, hours
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import GRACE, TICK, TimedDatabase, events_named, request_text


async def overlapping(db: TimedDatabase, node: DatabaseNode, overlap: str) -> tuple[int, Attempt]:
    campaign_id = await db.add_scheduled(daily_body(NOON + hours(1), overlap=overlap))
    db.set_time(NOON + hours(1))
    (won,) = await node.claim()
    return campaign_id, won.attempt


async def test_overlap_skip(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id, _ = await overlapping(db, node, "skip")
    db.advance(days(1))
    (won,) = await node.claim()
    assert (won.made, won.attempt) == ("skipped", None)
    event = (await db.events_of(campaign_id))[-1]
    assert (event.event, event.cause) == ("passed", "skipped: a run is open")
    assert (event.from_status, event.to_status) == ("executing", "executing")


async def test_overlap_queue_holds_one_and_promotes_it(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id, work = await overlapping(db, node, "queue")
    made = []
    for _ in range(3):
        db.advance(days(1))
        made += [won.made for won in await node.claim()]
    assert made == ["queued", "skipped", "skipped"]
    assert await db.due_pending_runs() == []
    db.set_time(NOON + hours(2) + days(1) - TICK)  # the queued one may still start
    (written,) = await node.finish(work)
    assert (written.promoted, written.to_status) == (True, "executing")
    await db.check_invariants(campaign_id)
    (started,), late = await node.claim_attempts()
    assert (started.scheduled_for, started.number) == (NOON + hours(1) + days(1), 1)
    assert late == []
    await db.check_invariants(campaign_id)
    (written,) = await node.finish(started)
    assert (written.promoted, written.to_status) == (False, "launched")


async def test_a_queued_run_that_waited_too_long_is_missed(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id, work = await overlapping(db, node, "queue")
    db.advance(days(1))
    await node.claim()
    db.advance(GRACE + TICK)
    await node.finish(work)
    assert await db.status_of(campaign_id) == "executing"
    works, (late,) = await node.claim_attempts()
    assert works == []
    assert late.attempt.scheduled_for == NOON + hours(1) + days(1)
    assert await db.run_statuses_of(campaign_id) == ["completed", "missed"]
    assert await db.status_of(campaign_id) == "launched"
    await db.check_invariants(campaign_id)


async def test_the_place_in_the_queue_is_free_again(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id, work = await overlapping(db, node, "queue")
    db.advance(days(1))
    await node.claim()
    await node.finish(work)
    ((second,), _) = await node.claim_attempts()
    db.advance(days(1))
    assert [won.made for won in await node.claim()] == ["queued"]
    await node.fail(second)
    ((third,), _) = await node.claim_attempts()
    assert third.scheduled_for == NOON + hours(1) + days(2)
    await node.finish(third)
    assert await db.run_statuses_of(campaign_id) == ["completed", "failed", "completed"]


async def test_a_queued_run_waits_for_every_open_run(db: TimedDatabase, node: DatabaseNode) -> None:
    """Two runs are open from a time when overlap was allowed; the queue moves after both."""
    campaign_id, first = await overlapping(db, node, "allow")
    db.advance(days(1))
    (won,) = await node.claim()
    second = won.attempt
    await db.control.pause(campaign_id, "tester")
    body = {"startdate": request_text(NOON + hours(1)), "overlap": "queue"}
    await db.control.update_schedule(campaign_id, body, "tester")
    await db.control.start(campaign_id, "tester")
    db.advance(days(1))
    assert [won.made for won in await node.claim()] == ["queued"]
    await node.finish(first)
    assert await db.due_pending_runs() == []
    await node.finish(second)
    assert len(await db.due_pending_runs()) == 1


async def test_overlap_allow(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id, first = await overlapping(db, node, "allow")
    db.advance(days(1))
    (won,) = await node.claim()
    assert won.made == "executing"
    await node.finish(first)
    assert await db.status_of(campaign_id) == "executing"
    await node.finish(won.attempt)
    assert await db.status_of(campaign_id) == "launched"


async def test_both_runs_end_in_one_batch(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id, first = await overlapping(db, node, "allow")
    db.advance(days(1))
    (won,) = await node.claim()
    written = await node.finish_batch(
        FinishedAttempt(first, Delivered(), "executing", None),
        FinishedAttempt(won.attempt, Reject("no"), "executing", None),
    )
    assert [row and row.to_status for row in written] == ["executing", "launched"]
    ends = events_named(await db.events_of(campaign_id), "run_ended")
    assert [(event.from_status, event.to_status) for event in ends] == [
        ("executing", "executing"),
        ("executing", "launched"),
    ]
    await db.check_invariants(campaign_id)


async def test_two_nodes_finish_runs_of_one_campaign_at_once(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """The later node reads the result of the first, and ends the campaign."""
    other = await db.register_node("other")
    pairs = []
    for _ in range(10):
        db.set_time(NOON)
        end = (NOON + days(1)).date().isoformat()
        body = daily_body(NOON + hours(1), overlap="allow", config={"end_date": end})
        campaign_id = await db.add_scheduled(body)
        db.advance(hours(1))
        (first,) = await node.claim(await db.due_events(campaign_id))
        db.advance(days(1))
        (second,) = await other.claim(await db.due_events(campaign_id))
        pairs.append((campaign_id, first.attempt, second.attempt))
    for campaign_id, first, second in pairs:
        await asyncio.gather(node.fail(first), other.finish(second))
        await db.check_invariants(campaign_id)
        assert await db.status_of(campaign_id) == "completed"
        (last,) = [e for e in await db.events_of(campaign_id) if e.to_status == "completed"]
        assert last.from_status == "executing"


async def test_late_and_current_results_in_one_batch(db: TimedDatabase, node: DatabaseNode) -> None:
    """The result of a former attempt does not replace that of the open attempt."""
    campaign_id, work = await overlapping(db, node, "skip")
    await node.release(work)
    ((again,), _) = await node.claim_attempts()
    outcomes = [
        FinishedAttempt(again, Delivered(), "executing", None),
        FinishedAttempt(work, Reject("late"), "executing", None),
    ]
    written, late = await node.finish_batch(*outcomes)
    assert late is None
    assert written is not None
    assert written.status == "completed"
    assert await db.run_statuses_of(campaign_id) == ["completed"]
