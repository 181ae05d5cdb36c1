"""Claim, dispatch, finish and drain over a store in memory."""

from __future__ import annotations

import asyncio

import pytest

from daemon.domain.run.outcome import Accepted, Reject, Retry
from daemon.domain.schedule.schedule import EventKind
from daemon.pipeline.claim_reconciler import RECONCILE_EVERY_S
from tests.support.builders import armed_once, pending_run
from tests.support.pipeline_harness import GatedTarget, PipelineHarness
from tests.support.waiting import spin_until


async def test_due_entries_are_claimed_delivered_and_written() -> None:
    target = GatedTarget()
    async with PipelineHarness(log=(target, 2)) as harness:
        for number in range(20):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: len(harness.store.finished) == 20)
        assert sorted(target.asked) == list(range(20))
        assert sorted(harness.timer.settled) == list(range(20))
        assert len(harness.pipeline.in_flight) == 0
        assert harness.event_names().count("run_finished") == 20


async def test_no_more_is_claimed_than_its_target_has_room_for() -> None:
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 2), batch=4) as harness:
        for number in range(100):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        pool = harness.pipeline.pools.of("log")
        await spin_until(lambda: pool.room == 0)
        room = len(harness.pipeline.in_flight)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(harness.pipeline.in_flight) == room == sum(map(len, harness.store.claims)) < 100
        assert target.most_under_way == 2
        target.gate.set()
        await spin_until(lambda: len(harness.store.finished) == 100)
        assert max(map(len, harness.store.claims)) <= 4
        assert max(harness.store.finishes) <= 4


async def test_a_slow_target_delays_no_other() -> None:
    slow, quick = GatedTarget(slow=True), GatedTarget()
    async with PipelineHarness(slow=(slow, 1), quick=(quick, 1)) as harness:
        for number in range(200):
            harness.pipeline.claimer.enqueue([armed_once(number, "slow")])
        for number in range(200, 300):
            harness.pipeline.claimer.enqueue([armed_once(number, "quick")])
        await spin_until(lambda: len(quick.asked) == 100)
        assert len(slow.asked) == 1


async def test_entries_start_oldest_first() -> None:
    target = GatedTarget()
    async with PipelineHarness(log=(target, 1), batch=3) as harness:
        for number in range(30):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: len(target.asked) == 30)
        assert target.asked == list(range(30))


async def test_a_window_opens_whatever_its_target_does() -> None:
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 1)) as harness:
        for number in range(50):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: harness.pipeline.pools.of("log").room == 0)
        harness.pipeline.claimer.enqueue([armed_once(99, kind=EventKind.OPEN)])
        await spin_until(lambda: "window_opened" in harness.event_names())


async def test_lost_claims_are_read_again() -> None:
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        harness.store.losing = {2}
        for number in range(4):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: len(harness.store.finished) == 3)
        assert harness.timer.rechecked == [2]
        assert 2 in harness.timer.settled


async def test_runs_that_one_claim_has_no_bytes_for_are_claimed_by_later_ones() -> None:
    """Each run is delivered once, oldest first; the next claims ask for no more than what fits."""
    target = GatedTarget()
    async with PipelineHarness(log=(target, 1), batch=8) as harness:
        harness.store.claims_fit = 2
        for number in range(10):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        for number in range(20, 30):
            harness.pipeline.claimer.enqueue([pending_run(number)])
        await spin_until(lambda: len(harness.store.finished) == 20)
        assert sorted(target.asked) == [*range(10), *range(20, 30)]
        assert sorted(harness.timer.settled) == [*range(10), *range(20, 30)]
        assert harness.timer.rechecked == []
        assert sum(len(claim) for claim in harness.store.claims) < 20 + 2 * 8 + 10


async def test_a_bad_row_fails_alone() -> None:
    target = GatedTarget()
    async with PipelineHarness(log=(target, 1), batch=8) as harness:
        harness.store.poison = {3}
        for number in range(8):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        harness.pipeline.claimer.enqueue([pending_run(20)])
        await spin_until(lambda: len(harness.store.finished) == 8)
        assert sorted(target.asked) == [0, 1, 2, 4, 5, 6, 7, 20]
        (failed,) = [fields for name, fields in harness.events if name == "claim_failed"]
        assert failed == {"campaign_id": 3, "error": "ValueError: bad row"}
        assert 3 in harness.timer.settled, "it may be loaded again"


async def test_an_unwritable_outcome_frees_its_place() -> None:
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 1), batch=1) as harness:
        pool = harness.pipeline.pools.of("log")
        for number in range(10):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: pool.room == 0)
        harness.store.poison = set(target.asked) | {
            work.campaign_id for work in harness.pipeline.in_flight
        }
        held = len(harness.store.poison)
        target.gate.set()
        # Once with its outcome, once as a failure that is written in plain words.
        await spin_until(lambda: harness.event_names().count("finish_failed") == 2 * held)
        await spin_until(lambda: len(harness.store.finished) == 10 - held)


async def test_an_unwritable_outcome_fails_its_run() -> None:
    """The run would otherwise stay executing for as long as its node lives."""
    target = GatedTarget(outcome=Accepted(5.0))
    async with PipelineHarness(log=(target, 1)) as harness:
        harness.store.unwritable = {Accepted}
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(
            lambda: len(harness.pipeline.in_flight) == 0 and bool(harness.store.finished)
        )
        assert harness.store.finished == [(1, "Reject")]
        assert harness.event_names().count("finish_failed") == 1


async def test_claims_that_are_refused_for_long_are_one_outage() -> None:
    """The reconciliation in between succeeds, and does not end it."""
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        harness.store.refuses_claims = True
        harness.pipeline.claimer.enqueue([armed_once(1)])
        for count in range(1, 4):
            await spin_until(lambda count=count: len(harness.store.asked_unheard) >= count)
            harness.clock.seconds += RECONCILE_EVERY_S
        assert harness.health.outage_seconds == 3 * RECONCILE_EVERY_S
        harness.store.refuses_claims = False
        await spin_until(lambda: harness.store.finished == [(1, "Delivered")])
        await spin_until(lambda: harness.health.is_up)
        assert harness.event_names().count("database_lost") == 1


async def test_an_outage_of_claims_ends_when_nothing_can_be_claimed() -> None:
    """No claim would prove for a long time that the database is back."""
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        harness.store.refuses_claims = True
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: not harness.health.is_up)
        harness.pipeline.pools.of("log").claiming += 1000  # no room
        await spin_until(lambda: harness.health.is_up)


async def test_outcomes_outlive_an_outage_that_is_logged_once() -> None:
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 4)) as harness:
        for number in range(4):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: target.under_way == 4)
        harness.store.down = True
        target.gate.set()
        tries = 0

        def tried() -> bool:
            nonlocal tries
            tries += 1
            return tries > 50

        await spin_until(tried)
        assert (harness.store.finished, len(harness.pipeline.in_flight)) == ([], 4)
        harness.store.down = False
        await spin_until(lambda: len(harness.store.finished) == 4)
        assert harness.event_names().count("database_lost") == 1
        assert harness.event_names().count("database_back") == 1
        assert len(harness.pipeline.in_flight) == 0


@pytest.mark.parametrize("late", [set(), {1}])
async def test_an_outcome_is_logged_once_although_the_reply_was_lost(late: set[int]) -> None:
    """Both of an attempt and of an expired run, beside others in the same batch."""
    async with PipelineHarness(log=(GatedTarget(), 4)) as harness:
        harness.store.muffled, harness.store.late = {1}, late
        for number in range(3):
            harness.pipeline.claimer.enqueue([pending_run(number)])
        await spin_until(
            lambda: sum(name.startswith("run_") for name in harness.event_names()) == 3
        )
        assert sorted(number for number, _ in harness.store.finished) == [0, 1, 2]
        assert harness.event_names().count("run_finished") == 3 - len(late)
        assert harness.event_names().count("run_retrying") == len(late)
        assert "lease_lost" not in harness.event_names()
        assert len(harness.pipeline.in_flight) == 0


async def test_an_outcome_that_a_lock_blocks_holds_up_no_other() -> None:
    """It keeps no place of its target either, and it is written once the lock is released."""
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        harness.store.locked = {0, 1}
        for number in range(6):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: len(harness.store.finished) == 4)
        assert sorted(number for number, _ in harness.store.finished) == [2, 3, 4, 5]
        assert len(harness.pipeline.in_flight) == 2
        assert harness.pipeline.in_flight.count("log") == 0
        harness.store.locked = {1}
        await spin_until(lambda: harness.store.finished[4:] == [(0, "Delivered")])
        harness.store.losing, harness.store.locked = {1}, set()
        await spin_until(lambda: len(harness.pipeline.in_flight) == 0)
        assert harness.event_names().count("lease_lost") == 1
        assert harness.store.overtaken == [1]
        assert harness.pipeline.in_flight.count("log") == 0


async def test_outcomes_that_wait_long_are_logged_with_the_session_that_blocks_them() -> None:
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        harness.store.locked = {0, 1}
        for number in range(2):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        in_flight = harness.pipeline.in_flight
        await spin_until(lambda: len(in_flight) == 2 and in_flight.count("log") == 0)
        assert "outcomes_waiting" not in harness.event_names()
        harness.clock.seconds += 6
        await spin_until(lambda: "outcomes_waiting" in harness.event_names())
        (fields,) = [fields for name, fields in harness.events if name == "outcomes_waiting"]
        assert (fields["count"], fields["blocking_pid"]) == (2, 4711)
        assert fields["waited_s"] >= 5
        harness.store.locked = set()
        await spin_until(lambda: len(harness.store.finished) == 2)


async def test_unclaimed_entries_are_claimed_after_the_outage() -> None:
    target = GatedTarget()
    async with PipelineHarness(log=(target, 2)) as harness:
        harness.store.down = True
        for number in range(10):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        harness.pipeline.claimer.enqueue([pending_run(20)])
        await spin_until(lambda: "database_lost" in harness.event_names())
        assert harness.timer.settled == []
        harness.store.down = False
        await spin_until(lambda: len(harness.store.finished) == 11)
        assert sorted(target.asked) == [*range(10), 20]
        assert harness.event_names().count("database_lost") == 1


async def test_an_expired_run_ends_without_its_target() -> None:
    target = GatedTarget()
    async with PipelineHarness(log=(target, 1)) as harness:
        harness.store.late = {5}
        harness.pipeline.claimer.enqueue([pending_run(5)])
        await spin_until(lambda: harness.store.finished == [(5, "Retry")])
        assert target.asked == []


async def test_a_late_answer_is_logged_and_dropped() -> None:
    async with PipelineHarness(log=(GatedTarget(slow=True), 1)) as harness:
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: len(harness.pipeline.in_flight) == 1)
        harness.store.losing = {1}
        harness.pipeline.pools.of("log").target.gate.set()
        await spin_until(lambda: "lease_lost" in harness.event_names())
        assert len(harness.pipeline.in_flight) == 0
        assert "run_finished" not in harness.event_names()


@pytest.mark.parametrize(
    ("outcome", "event"),
    [(Reject("no"), "run_failed"), (Retry("busy"), "run_retrying"), (Accepted(5), "run_accepted")],
)
async def test_every_outcome_has_its_event(outcome: object, event: str) -> None:
    async with PipelineHarness(log=(GatedTarget(outcome=outcome), 1)) as harness:
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: event in harness.event_names())
        (fields,) = [fields for name, fields in harness.events if name == event]
        assert (fields["campaign_id"], fields["attempt"], fields["target"]) == (1, 1, "log")


async def test_an_unconfigured_target_rejects() -> None:
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        harness.pipeline.claimer.enqueue([armed_once(1, "elsewhere")])
        await spin_until(lambda: harness.store.finished == [(1, "Reject")])


async def test_a_target_that_raises_is_tried_again_and_its_worker_lives() -> None:
    target = GatedTarget()

    async def deliver(work: object) -> object:
        target.asked.append(work.campaign_id)
        raise ConnectionError("refused")

    target.deliver = deliver
    async with PipelineHarness(log=(target, 1)) as harness:
        for number in range(3):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: len(harness.store.finished) == 3)
        assert {name for _, name in harness.store.finished} == {"Retry"}
        (fields, *_) = [fields for name, fields in harness.events if name == "run_retrying"]
        assert fields["error"] == "ConnectionError: refused"


async def test_the_oldest_claim_is_that_of_the_attempts_in_flight() -> None:
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 1)) as harness:
        assert harness.pipeline.in_flight.oldest_claim_at() is None
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: len(harness.pipeline.in_flight) == 1)
        assert harness.pipeline.in_flight.oldest_claim_at() is not None
        target.gate.set()
        await spin_until(lambda: harness.pipeline.in_flight.oldest_claim_at() is None)


async def test_a_newer_attempt_is_not_forgotten_with_the_former() -> None:
    """A run can come back to the node that lost it while its former attempt is not written yet."""
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 2)) as harness:
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: target.under_way == 1)
        (former,) = harness.pipeline.in_flight
        harness.pipeline.claimer.enqueue([pending_run(1)])
        await spin_until(lambda: target.asked == [1, 1])
        (newer,) = harness.pipeline.in_flight
        assert (former.number, newer.number) == (1, 2)
        harness.pipeline.in_flight.remove([former])
        assert list(harness.pipeline.in_flight) == [newer]
        target.gate.set()


async def test_a_campaign_loaded_twice_is_carried_out_once() -> None:
    """Its event from before an outage and its present event are due together."""
    target = GatedTarget()
    async with PipelineHarness(log=(target, 1)) as harness:
        stale, current = armed_once(1), armed_once(1)._replace(revision=2)
        harness.store.down = True
        harness.pipeline.claimer.enqueue([current])
        harness.pipeline.claimer.enqueue([stale])
        await spin_until(lambda: "database_lost" in harness.event_names())
        harness.store.down = False
        await spin_until(lambda: len(harness.store.finished) == 1)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(target.asked) == 1
        assert harness.store.claims == [[1]]
        assert harness.timer.settled == [1, 1], "both may be loaded again"


async def test_two_claims_are_under_way_at_once() -> None:
    """The server works on one while the next is made."""
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        harness.store.gate.clear()
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: harness.store.claims == [[1]])
        harness.pipeline.claimer.enqueue([armed_once(2)])
        await spin_until(lambda: harness.store.claims == [[1], [2]])
        harness.pipeline.claimer.enqueue([armed_once(3)])
        harness.store.gate.set()
        await spin_until(lambda: len(harness.store.finished) == 3)
        assert harness.store.claims == [[1], [2], [3]]


async def test_unacknowledged_claims_are_reconciled_between_claims() -> None:
    """A claim under way could change what is compared."""
    async with PipelineHarness(log=(GatedTarget(), 1)) as harness:
        harness.store.down = True
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: "database_lost" in harness.event_names())
        harness.store.down = False
        harness.clock.seconds += 1
        await spin_until(lambda: len(harness.store.finished) == 1)
        await spin_until(lambda: len(harness.store.asked_unheard) == 1)
        harness.store.gate.clear()
        harness.pipeline.claimer.enqueue([armed_once(2)])
        await spin_until(lambda: [2] in harness.store.claims)
        harness.clock.seconds += 1  # the next reconciliation is due
        harness.pipeline.claimer.enqueue([armed_once(3)])
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(harness.store.asked_unheard) == 1
        assert [3] not in harness.store.claims, "nor is there a further claim to wait for"
        harness.store.gate.set()
        await spin_until(lambda: len(harness.store.finished) == 3)
        assert len(harness.store.asked_unheard) == 2
