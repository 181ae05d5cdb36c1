"""Attempts: retries within the grace, lost nodes, draining and late results."""

from __future__ import annotations

import pytest

from daemon.campaign_service import CampaignService
from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Accepted, Missed, Reject, Retry
from storage.run_results import RunResults
from tests.support.database_world import (
    GRACE,
    TICK,
    Node,
    World,
    daily,
    events_named,
    hours,
    minutes,
    once,
    seconds,
)
from tests.support.fired import AT, fired, taken_back


async def test_a_run_starts_when_its_first_attempt_does(world: World, node: Node) -> None:
    """The claim may be long before the start; a later attempt keeps the first start."""
    campaign_id, work = await fired(world, node)
    assert work.started_at is None
    world.set(AT + seconds(9))
    await node.finish(work, Retry("503", 30), begun=AT + seconds(7))
    (run,) = await world.runs(campaign_id)
    assert (run.claimed_at, run.started_at) == (AT, AT + seconds(7))
    world.set(AT + seconds(60))
    ((again,), _) = await node.attempts()
    assert again.started_at == AT + seconds(7)
    await node.finish(again, begun=AT + seconds(61))
    (run,) = await world.runs(campaign_id)
    assert (run.attempt, run.started_at) == (2, AT + seconds(7))


@pytest.mark.parametrize(("reckoned", "kept"), [(-5, 0), (50, 9)])
async def test_an_impossible_start_is_corrected(
    world: World, node: Node, reckoned: int, kept: int
) -> None:
    """The node estimates the database clock; a start is between the claim and the end."""
    campaign_id, work = await fired(world, node)
    world.set(AT + seconds(9))
    await node.finish(work, begun=AT + seconds(reckoned))
    (run,) = await world.runs(campaign_id)
    assert run.started_at == AT + seconds(kept)


async def test_a_retry_waits_and_counts(world: World, node: Node) -> None:
    campaign_id, work = await fired(world, node)
    (written,) = await node.finish(work, Retry("503 from there", 30))
    assert (written.status, written.to_status) == (RunStatus.RETRYING, "executing")
    (run,) = await world.runs(campaign_id)
    assert (run.status, run.error, run.node) == ("retrying", "503 from there", None)
    assert run.next_attempt_at == AT + seconds(30)
    await world.check(campaign_id)

    world.set(AT + seconds(30) - TICK)
    assert await node.attempts() == ([], [])
    waiting = await world.later(AT + minutes(1))
    assert [(one.campaign_id, one.at) for one in waiting] == [(campaign_id, AT + seconds(30))]
    assert await node.attempts(waiting) == ([], []), "not due by the server's clock"
    world.set(AT + seconds(30))
    ((again,), _) = await node.attempts()
    assert (again.number, again.run_id, again.takeovers) == (2, work.run_id, 0)
    (run,) = await world.runs(campaign_id)
    assert (run.started_at, run.claimed_at) == (AT, world.now), "the first attempt's start is kept"
    assert (run.next_attempt_at, run.attempt, run.node) == (None, 2, "node")
    event = (await world.events(campaign_id))[-1]
    assert (event.event, event.cause, event.run_id) == ("attempt", "attempt 2", work.run_id)
    assert await node.attempts(waiting) == ([], []), "it is under way already"


async def test_a_retry_starts_within_the_grace_or_not_at_all(world: World, node: Node) -> None:
    last_moment, work = await fired(world, node)
    await node.finish(work, Retry("busy", GRACE.total_seconds()))
    world.set(AT + GRACE)
    ((again,), _) = await node.attempts()
    await node.finish(again, Retry("busy", 0.001))
    world.after(seconds(0.001))
    assert [late.outcome for late in (await node.attempts())[1]] == [
        Reject("the next attempt would start later than misfire_grace_time")
    ]
    (run,) = await world.runs(last_moment)
    assert (run.status, run.attempt) == ("failed", 2)
    assert "misfire_grace_time" in run.error
    assert await world.status(last_moment) == "failed"
    await world.check(last_moment)


async def test_a_run_that_was_never_started_in_time_is_missed(world: World, node: Node) -> None:
    campaign_id = await world.create()
    await world.control.start(campaign_id, "tester")
    world.after(GRACE + TICK)
    works, (late,) = await node.attempts()
    assert (works, late.outcome, late.expected) == ([], Missed(), "queued")
    assert await world.run_statuses(campaign_id) == ["missed"]
    assert await world.status(campaign_id) == "failed"


async def test_a_paused_campaign_starts_no_attempt(world: World, node: Node) -> None:
    campaign_id, work = await fired(world, node)
    await node.finish(work, Retry("busy", 10))
    waiting = await world.later(AT + minutes(1))
    await world.control.pause(campaign_id, "tester")
    world.after(seconds(10))
    assert await world.waiting() == []
    assert await node.attempts(waiting) == ([], [])
    await world.control.start(campaign_id, "tester")
    ((again,), _) = await node.attempts()
    assert again.number == 2


async def test_pausing_lets_an_open_attempt_end(world: World, node: Node) -> None:
    campaign_id, work = await fired(world, node)
    await world.control.pause(campaign_id, "tester")
    (written,) = await node.finish(work, Retry("busy", 10))
    assert (written.status, written.to_status) == ("retrying", "paused")


async def test_an_accepted_run_has_a_lease_of_its_own(world: World, node: Node) -> None:
    campaign_id, work = await fired(world, node)
    (written,) = await node.finish(work, Accepted(120))
    assert (written.status, written.to_status) == (RunStatus.EXECUTING, "executing")
    (run,) = await world.runs(campaign_id)
    assert run.lease_until == AT + seconds(120)
    (event,) = events_named(await world.events(campaign_id), "run_executing")
    assert event.run_id == work.run_id


async def fired_on(world: World, node: Node) -> tuple[int, Attempt]:
    """Like `fired`, with a heartbeat just before, as a live node has."""
    campaign_id = await world.saved(once(AT))
    world.set(AT)
    await node.beat(lease=5)
    (won,) = await node.claim()
    return campaign_id, won.attempt


# --- draining and stopping ------------------------------------------------------------------


async def test_released_runs_are_due_at_once_for_any_node(world: World, node: Node) -> None:
    other = await world.node("other")
    campaign_id, work = await fired(world, node)
    assert await other.release(work) == 0
    assert await node.release(work) == 1
    (run,) = await world.runs(campaign_id)
    assert (run.status, run.next_attempt_at, run.node) == ("retrying", AT, None)
    (event,) = events_named(await world.events(campaign_id), "run_retrying")
    assert event.actor == "node"
    assert await node.release(work) == 0
    assert await node.finish(work) == []
    ((again,), _) = await other.attempts()
    assert again.number - again.takeovers == 1, "no attempt was counted"


async def test_an_unstarted_run_is_released_as_if_never_claimed(world: World, node: Node) -> None:
    campaign_id, work = await fired(world, node)
    await node.release(work, disposition="not_started")
    (run,) = await world.runs(campaign_id)
    assert (run.attempt, run.takeovers, run.started_at) == (0, 0, None)
    ((again,), _) = await node.attempts()
    assert (again.number, again.takeovers) == (1, 0)
    await node.release(again, disposition="not_started")
    world.after(GRACE + TICK)
    await node.attempts()
    assert await world.run_statuses(campaign_id) == ["missed"]
    await world.check(campaign_id)


async def test_a_run_that_cannot_be_repeated_is_held(world: World, node: Node) -> None:
    campaign_id, work = await fired(world, node)
    await node.release(work, disposition="held")
    (run,) = await world.runs(campaign_id)
    assert run.error == "given back by a stopping node"
    assert node.taken == [taken_back(work, "held", run.error)]
    assert (run.status, run.attempt, run.takeovers, run.next_attempt_at) == ("held", 1, 1, None)
    world.after(GRACE * 2)
    assert await node.attempts() == ([], [])
    assert await node.finish(work) == []
    assert await world.status(campaign_id) == "executing"
    await world.control.stop(campaign_id, "tester")
    assert await world.run_statuses(campaign_id) == ["cancelled"]


async def test_stopping_cancels_at_once_and_refuses_late_results(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(AT, overlap="queue"))
    world.set(AT)
    (won,) = await node.claim()
    world.set(AT + hours(24))
    await node.claim()
    await world.control.stop(campaign_id, "a person")
    runs = await world.runs(campaign_id)
    assert [run.status for run in runs] == ["cancelled", "cancelled"]
    assert {(run.finished_at, run.error) for run in runs} == {(world.now, "stopped by a person")}
    ended = events_named(await world.events(campaign_id), "run_ended")
    assert [(event.cause, event.run_id) for event in ended] == [
        ("cancelled", run.id) for run in runs
    ]
    await world.check(campaign_id)
    before = await world.dump(campaign_id)
    for outcome in (None, Retry("busy"), Reject("no"), Accepted(5)):
        assert await node.finish(won.attempt, outcome) == []
    assert await node.release(won.attempt) == 0
    assert await node.attempts() == ([], [])
    assert await world.dump(campaign_id) == before


async def test_retrying_and_waiting_runs_are_cancelled_too(world: World, node: Node) -> None:
    campaign_id, work = await fired(world, node)
    await node.finish(work, Retry("busy", 10))
    by_hand = await world.create()
    await world.control.start(by_hand, "tester")
    for each in (campaign_id, by_hand):
        await world.control.stop(each, "tester")
        assert await world.run_statuses(each) == ["cancelled"]
        assert await world.status(each) == "cancelled"
    world.after(seconds(10))
    assert await node.attempts() == ([], [])


async def test_a_repeated_result_is_written_once(world: World, node: Node) -> None:
    campaign_id, work = await fired(world, node)
    assert len(await node.finish(work)) == 1
    before = await world.dump(campaign_id)
    assert await node.finish(work) == []
    assert await node.fail(work) == []
    assert await world.dump(campaign_id) == before


async def test_a_retry_by_an_operator_has_the_configured_grace(world: World, node: Node) -> None:
    """This holds when the schedule names no grace."""
    world.control = CampaignService(
        world.store, misfire_grace_time=60, runs=RunResults(world.database)
    )
    campaign_id = await world.create()
    await world.control.start(campaign_id, "tester")
    ((work,), _) = await node.attempts()
    await node.fail(work)
    world.after(hours(1))
    await world.control.retry(work.run_id, "tester")
    (run,) = await world.runs(campaign_id)
    assert run.start_before == world.now + seconds(60)
