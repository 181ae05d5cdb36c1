"""Outcomes that were not written by a node's own attempt: each is logged once."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from daemon.campaign_service import CampaignService
from daemon.domain.errors import Conflict
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Accepted, Delivered, Held, Retry
from daemon.runtime.clock import SystemClock
from daemon.runtime.node_identity import NodeIdentity
from storage.leases import LeaseTable
from storage.run_results import RunResults
from tests.support.builders import once_body
from tests.support.capture import CapturedEvents
from tests.support.clocks import NOON, hours, minutes
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import ALL, TimedDatabase, request_text, store_continuous

AT = NOON + hours(1)


@pytest.fixture
def captured(db: TimedDatabase) -> CapturedEvents:
    """The events that a command logs."""
    captured = CapturedEvents()
    db.control = CampaignService(
        db.store, runs=RunResults(db.database), held=db.held, emit=captured
    )
    return captured


async def accepted(db: TimedDatabase, node: DatabaseNode, at: datetime = AT) -> Attempt:
    """Return the attempt of an accepted run."""
    await db.add_scheduled(once_body(at), target="crm")
    db.set_time(at)
    (won,) = await node.claim()
    assert won.attempt is not None
    await node.finish(won.attempt, Accepted(300))
    return won.attempt


def keys(work: Attempt, **more: Any) -> dict[str, Any]:
    """Return the keys that every log line of a run has."""
    return {
        "campaign_id": work.campaign_id,
        "campaign_uuid": work.campaign_uuid,
        "run_id": work.run_id,
        "scheduled_for": work.scheduled_for,
        "attempt": work.number,
        "target": work.target,
        "lateness_ms": 0.0,
        **more,
    }


async def test_completed_once(
    db: TimedDatabase, node: DatabaseNode, captured: CapturedEvents
) -> None:
    """A repeated or late result logs nothing."""
    work = await accepted(db, node)
    for _ in range(2):
        await db.control.complete(work.run_id, 1, "api:crm")
    with pytest.raises(Conflict):
        await db.control.fail(work.run_id, 1, "no", "api:crm")
    ((event, fields),) = captured
    assert event == "run_finished"
    assert fields.pop("duration_ms") is not None
    assert fields == keys(
        work, outcome="completed", from_status="executing", to_status="completed", actor="api:crm"
    )


async def test_failed(db: TimedDatabase, node: DatabaseNode, captured: CapturedEvents) -> None:
    """One attempt is followed by another, and one is the last."""
    first, second = await accepted(db, node), await accepted(db, node, AT + hours(1))
    await db.control.fail(first.run_id, 1, "busy", "api:crm")
    await db.control.fail(second.run_id, 1, "no such list", "api:crm", retry=False)
    assert [(event, fields["run_id"], fields["error"]) for event, fields in captured] == [
        ("run_retrying", first.run_id, "busy"),
        ("run_failed", second.run_id, "no such list"),
    ]
    assert captured[1][1]["to_status"] == "failed"


async def test_a_held_run_that_an_operator_fails(
    db: TimedDatabase, node: DatabaseNode, captured: CapturedEvents
) -> None:
    """The run is logged once like every other."""
    await db.add_scheduled(once_body(AT))
    db.set_time(AT)
    (won,) = await node.claim()
    assert won.attempt is not None
    await node.finish(won.attempt, Held("no answer"))
    await db.control.fail_held(won.attempt.run_id, "cli:ann")
    ((event, fields),) = captured
    assert (event, fields["error"], fields["actor"]) == (
        "run_failed",
        "failed by cli:ann",
        "cli:ann",
    )


async def test_stopped(db: TimedDatabase, node: DatabaseNode, captured: CapturedEvents) -> None:
    """Every open run of the campaign is logged, and no run that had ended."""
    work = await accepted(db, node)
    await db.control.stop(work.campaign_id, "cli:ann")
    await db.control.rerun(work.campaign_id, "cli:ann")
    await db.control.stop(work.campaign_id, "cli:ann")
    assert [event for event, _ in captured] == ["run_cancelled"] * 2
    (_, first), (_, second) = captured
    assert first == keys(work, outcome="cancelled", error="stopped by cli:ann", actor="cli:ann")
    assert (second["attempt"], second["run_id"] != work.run_id) == (0, True)


async def test_an_occurrence_dropped_by_a_command_is_missed(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    """The occurrence was due, and no node had claimed it."""
    campaign_id = await db.add_scheduled(once_body(AT))
    db.set_time(AT + minutes(1))
    await db.control.stop(campaign_id, "cli:ann")
    ((event, fields),) = captured
    assert (event, fields["scheduled_for"], fields["lateness_ms"]) == ("run_missed", AT, 60_000.0)
    assert await db.run_statuses_of(campaign_id) == ["missed"]


async def test_an_occurrence_that_the_claim_will_log_is_not_logged_twice(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    """The claim of an overdue opening walks the window again."""
    campaign_id = await store_continuous(db, 60, hours(1))
    start = NOON + hours(1)
    db.set_time(start + minutes(5))
    body = {"startdate": request_text(start), "enddate": request_text(start + hours(2))}
    await db.control.update_schedule(campaign_id, body, "tester")
    assert "missed" in await db.run_statuses_of(campaign_id)
    assert not captured


async def test_an_uncommitted_outcome_is_not_logged(db: TimedDatabase, node: DatabaseNode) -> None:
    """In a transaction of the caller, the outcome is logged after the commit."""
    captured = CapturedEvents()
    control = CampaignService(db.store, runs=RunResults(db.database), emit=captured, commits=False)
    work = await accepted(db, node)
    await control.complete(work.run_id, 1, "api:crm")
    assert not captured
    for _ in range(2):
        control.emit_pending()
    assert Counter(event for event, _ in captured) == {"run_finished": 1}


async def test_a_written_outcome_is_found_when_the_reply_was_lost(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """Only the node that wrote the outcome finds it, and only for that attempt."""
    await db.add_scheduled(once_body(AT))
    db.set_time(AT)
    (won,) = await node.claim()
    work = won.attempt
    assert work is not None
    assert await node.firing.find_finish_result(work, Delivered()) is None
    (written,) = await node.finish(work, Delivered())
    assert await node.finish(work, Delivered()) == []
    found = await node.firing.find_finish_result(work, Delivered())
    assert found == written._replace(promoted=True)
    other = await db.register_node("other")
    assert await other.firing.find_finish_result(work, Delivered()) is None
    later = work._replace(claimed_at=AT + minutes(1))
    assert await node.firing.find_finish_result(later, Delivered()) is None


async def test_an_attempt_followed_by_another_is_found_too(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """Its own event identifies the attempt."""
    await db.add_scheduled(once_body(AT))
    db.set_time(AT)
    (won,) = await node.claim()
    assert won.attempt is not None
    await node.finish(won.attempt, Retry("busy", 30))
    found = await node.firing.find_finish_result(won.attempt, Retry("busy", 30))
    assert found is not None
    assert found.status == "retrying"
    assert await node.firing.find_finish_result(won.attempt, Delivered()) is None


async def test_results_in_the_table_hold_worker_and_duration(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """The node that writes the outcomes logs both."""
    work = await accepted(db, node)
    await db.rows(
        "UPDATE runs SET answer = 'completed', lease_until = claimed_at + interval '90 seconds',"
        " node = 'their worker' WHERE id = :id",
        id=work.run_id,
    )
    (found,) = await LeaseTable(db.database, NodeIdentity(SystemClock())).unwritten_worker_results(
        ALL, AT, 10
    )
    assert (found.attempt.run_id, found.outcome) == (work.run_id, Delivered())
    assert (found.worker, found.seconds) == ("their worker", 90.0)
