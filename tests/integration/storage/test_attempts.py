"""Attempts: retries within the grace, lost nodes, draining and late results."""

from __future__ import annotations

import pytest

from daemon.campaign_service import CampaignService
from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Accepted, Missed, Reject, Retry
from storage import claim_rows
from storage.run_results import RunResults
from tests.support.builders import daily_body, once_body
from tests.support.clocks import hours, minutes, seconds
from tests.support.database_node import DatabaseNode
from tests.support.fired import AT, fire_one_off, reclaimed_run_of
from tests.support.timed_database import GRACE, TICK, TimedDatabase, events_named


async def test_a_run_starts_when_its_first_attempt_does(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """The claim may be long before the start; a later attempt keeps the first start."""
    campaign_id, work = await fire_one_off(db, node)
    assert work.started_at is None
    db.set_time(AT + seconds(9))
    await node.finish(work, Retry("503", 30), begun=AT + seconds(7))
    (run,) = await db.runs_of(campaign_id)
    assert (run.claimed_at, run.started_at) == (AT, AT + seconds(7))
    db.set_time(AT + seconds(60))
    ((again,), _) = await node.claim_attempts()
    assert again.started_at == AT + seconds(7)
    await node.finish(again, begun=AT + seconds(61))
    (run,) = await db.runs_of(campaign_id)
    assert (run.attempt, run.started_at) == (2, AT + seconds(7))


@pytest.mark.parametrize(("reckoned", "kept"), [(-5, 0), (50, 9)])
async def test_an_impossible_start_is_corrected(
    db: TimedDatabase, node: DatabaseNode, reckoned: int, kept: int
) -> None:
    """The node estimates the database clock; a start is between the claim and the end."""
    campaign_id, work = await fire_one_off(db, node)
    db.set_time(AT + seconds(9))
    await node.finish(work, begun=AT + seconds(reckoned))
    (run,) = await db.runs_of(campaign_id)
    assert run.started_at == AT + seconds(kept)


async def test_a_retry_waits_and_counts(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id, work = await fire_one_off(db, node)
    (written,) = await node.finish(work, Retry("503 from there", 30))
    assert (written.status, written.to_status) == (RunStatus.RETRYING, "executing")
    (run,) = await db.runs_of(campaign_id)
    assert (run.status, run.error, run.node) == ("retrying", "503 from there", None)
    assert run.next_attempt_at == AT + seconds(30)
    await db.check_invariants(campaign_id)

    db.set_time(AT + seconds(30) - TICK)
    assert await node.claim_attempts() == ([], [])
    waiting = await db.pending_runs_until(AT + minutes(1))
    assert [(one.campaign_id, one.at) for one in waiting] == [(campaign_id, AT + seconds(30))]
    assert await node.claim_attempts(waiting) == ([], []), "not due by the server's clock"
    db.set_time(AT + seconds(30))
    ((again,), _) = await node.claim_attempts()
    assert (again.number, again.run_id, again.takeovers) == (2, work.run_id, 0)
    (run,) = await db.runs_of(campaign_id)
    assert (run.started_at, run.claimed_at) == (AT, db.now), "the first attempt's start is kept"
    assert (run.next_attempt_at, run.attempt, run.node) == (None, 2, "node")
    event = (await db.events_of(campaign_id))[-1]
    assert (event.event, event.cause, event.run_id) == ("attempt", "attempt 2", work.run_id)
    assert await node.claim_attempts(waiting) == ([], []), "it is under way already"


async def test_a_retry_starts_within_the_grace_or_not_at_all(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    last_moment, work = await fire_one_off(db, node)
    await node.finish(work, Retry("busy", GRACE.total_seconds()))
    db.set_time(AT + GRACE)
    ((again,), _) = await node.claim_attempts()
    await node.finish(again, Retry("busy", 0.001))
    db.advance(seconds(0.001))
    assert [late.outcome for late in (await node.claim_attempts())[1]] == [
        Reject("the next attempt would start later than misfire_grace_time")
    ]
    (run,) = await db.runs_of(last_moment)
    assert (run.status, run.attempt) == ("failed", 2)
    assert "misfire_grace_time" in run.error
    assert await db.status_of(last_moment) == "failed"
    await db.check_invariants(last_moment)


async def test_a_run_that_was_never_started_in_time_is_missed(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_draft()
    await db.control.start(campaign_id, "tester")
    db.advance(GRACE + TICK)
    works, (late,) = await node.claim_attempts()
    assert (works, late.outcome, late.expected) == ([], Missed(), "queued")
    assert await db.run_statuses_of(campaign_id) == ["missed"]
    assert await db.status_of(campaign_id) == "failed"


async def test_a_paused_campaign_starts_no_attempt(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id, work = await fire_one_off(db, node)
    await node.finish(work, Retry("busy", 10))
    waiting = await db.pending_runs_until(AT + minutes(1))
    await db.control.pause(campaign_id, "tester")
    db.advance(seconds(10))
    assert await db.due_pending_runs() == []
    assert await node.claim_attempts(waiting) == ([], [])
    await db.control.start(campaign_id, "tester")
    ((again,), _) = await node.claim_attempts()
    assert again.number == 2


async def test_pausing_lets_an_open_attempt_end(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id, work = await fire_one_off(db, node)
    await db.control.pause(campaign_id, "tester")
    (written,) = await node.finish(work, Retry("busy", 10))
    assert (written.status, written.to_status) == ("retrying", "paused")


async def test_an_accepted_run_has_a_lease_of_its_own(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id, work = await fire_one_off(db, node)
    (written,) = await node.finish(work, Accepted(120))
    assert (written.status, written.to_status) == (RunStatus.EXECUTING, "executing")
    (run,) = await db.runs_of(campaign_id)
    assert run.lease_until == AT + seconds(120)
    (event,) = events_named(await db.events_of(campaign_id), "run_executing")
    assert event.run_id == work.run_id


async def fired_on(db: TimedDatabase, node: DatabaseNode) -> tuple[int, Attempt]:
    """Like `fire_one_off`, with a heartbeat just before, as a live node has."""
    campaign_id = await db.add_scheduled(once_body(AT))
    db.set_time(AT)
    await node.beat(lease=5)
    (won,) = await node.claim()
    return campaign_id, won.attempt


async def test_a_claim_of_attempts_has_a_bounded_number_of_bytes(
    db: TimedDatabase, node: DatabaseNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs beyond the bound stay due; those that are too late, or send no payload, do not count."""
    payload = {"a": "x" * 60_000}
    for target in ("log", "log", "log", "table", "table"):
        await db.add_scheduled(once_body(AT), payload=payload, target=target)
    tight = await db.add_scheduled(once_body(AT) | {"misfire_grace_time": 1}, payload=payload)
    db.set_time(AT)
    await node.release(*[won.attempt for won in await node.claim()])
    monkeypatch.setattr(claim_rows, "CLAIM_BYTES", 100_000)
    db.set_time(AT + seconds(5))
    node.firing.now = db.now
    waiting = await db.due_pending_runs()
    started, expired, postponed = await node.firing.claim_attempts(waiting, ["table"])
    assert sorted(work.target for work in started) == ["log", "log", "table", "table"]
    assert [each.attempt.campaign_id for each in expired] == [tight]
    (again,) = [run for run in waiting if (run.campaign_id, run.scheduled_for) in postponed]
    ((last,), _, nothing) = await node.firing.claim_attempts([again], ["table"])
    assert (last.payload, nothing) == (payload, [])


# --- draining and stopping ------------------------------------------------------------------


async def test_released_runs_are_due_at_once_for_any_node(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    other = await db.register_node("other")
    campaign_id, work = await fire_one_off(db, node)
    assert await other.release(work) == 0
    assert await node.release(work) == 1
    (run,) = await db.runs_of(campaign_id)
    assert (run.status, run.next_attempt_at, run.node) == ("retrying", AT, None)
    (event,) = events_named(await db.events_of(campaign_id), "run_retrying")
    assert event.actor == "node"
    assert await node.release(work) == 0
    assert await node.finish(work) == []
    ((again,), _) = await other.claim_attempts()
    assert again.number - again.takeovers == 1, "no attempt was counted"


async def test_an_unstarted_run_is_released_as_if_never_claimed(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id, work = await fire_one_off(db, node)
    await node.release(work, disposition="not_started")
    (run,) = await db.runs_of(campaign_id)
    assert (run.attempt, run.takeovers, run.started_at) == (0, 0, None)
    ((again,), _) = await node.claim_attempts()
    assert (again.number, again.takeovers) == (1, 0)
    await node.release(again, disposition="not_started")
    db.advance(GRACE + TICK)
    await node.claim_attempts()
    assert await db.run_statuses_of(campaign_id) == ["missed"]
    await db.check_invariants(campaign_id)


async def test_a_run_that_cannot_be_repeated_is_held(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id, work = await fire_one_off(db, node)
    await node.release(work, disposition="held")
    (run,) = await db.runs_of(campaign_id)
    assert run.error == "given back by a stopping node"
    assert node.taken == [reclaimed_run_of(work, "held", run.error)]
    assert (run.status, run.attempt, run.takeovers, run.next_attempt_at) == ("held", 1, 1, None)
    db.advance(GRACE * 2)
    assert await node.claim_attempts() == ([], [])
    assert await node.finish(work) == []
    assert await db.status_of(campaign_id) == "executing"
    await db.control.stop(campaign_id, "tester")
    assert await db.run_statuses_of(campaign_id) == ["cancelled"]


async def test_stopping_cancels_at_once_and_refuses_late_results(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(daily_body(AT, overlap="queue"))
    db.set_time(AT)
    (won,) = await node.claim()
    db.set_time(AT + hours(24))
    await node.claim()
    await db.control.stop(campaign_id, "a person")
    runs = await db.runs_of(campaign_id)
    assert [run.status for run in runs] == ["cancelled", "cancelled"]
    assert {(run.finished_at, run.error) for run in runs} == {(db.now, "stopped by a person")}
    ended = events_named(await db.events_of(campaign_id), "run_ended")
    assert [(event.cause, event.run_id) for event in ended] == [
        ("cancelled", run.id) for run in runs
    ]
    await db.check_invariants(campaign_id)
    before = await db.dump_rows(campaign_id)
    for outcome in (None, Retry("busy"), Reject("no"), Accepted(5)):
        assert await node.finish(won.attempt, outcome) == []
    assert await node.release(won.attempt) == 0
    assert await node.claim_attempts() == ([], [])
    assert await db.dump_rows(campaign_id) == before


async def test_retrying_and_waiting_runs_are_cancelled_too(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id, work = await fire_one_off(db, node)
    await node.finish(work, Retry("busy", 10))
    by_hand = await db.add_draft()
    await db.control.start(by_hand, "tester")
    for each in (campaign_id, by_hand):
        await db.control.stop(each, "tester")
        assert await db.run_statuses_of(each) == ["cancelled"]
        assert await db.status_of(each) == "cancelled"
    db.advance(seconds(10))
    assert await node.claim_attempts() == ([], [])


async def test_a_repeated_result_is_written_once(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id, work = await fire_one_off(db, node)
    assert len(await node.finish(work)) == 1
    before = await db.dump_rows(campaign_id)
    assert await node.finish(work) == []
    assert await node.fail(work) == []
    assert await db.dump_rows(campaign_id) == before


async def test_a_retry_by_an_operator_has_the_configured_grace(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """This holds when the schedule names no grace."""
    db.control = CampaignService(db.store, misfire_grace_time=60, runs=RunResults(db.database))
    campaign_id = await db.add_draft()
    await db.control.start(campaign_id, "tester")
    ((work,), _) = await node.claim_attempts()
    await node.fail(work)
    db.advance(hours(1))
    await db.control.retry(work.run_id, "tester")
    (run,) = await db.runs_of(campaign_id)
    assert run.start_before == db.now + seconds(60)
