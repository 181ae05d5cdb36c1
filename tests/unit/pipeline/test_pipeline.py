"""Claim, dispatch, finish and drain over a store in memory."""

from __future__ import annotations

import asyncio

import pytest

from daemon.domain.run.outcome import Accepted, Reject, Retry
from daemon.domain.schedule.schedule import EventKind
from tests.support.pipeline_world import Target, World, armed, until, waiting


async def test_due_entries_are_claimed_delivered_and_written() -> None:
    target = Target()
    async with World(log=(target, 2)) as world:
        for number in range(20):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: len(world.store.finished) == 20)
        assert sorted(target.asked) == list(range(20))
        assert sorted(world.timer.settled) == list(range(20))
        assert len(world.pipeline.in_flight) == 0
        assert world.names().count("run_finished") == 20


async def test_no_more_is_claimed_than_its_target_has_room_for() -> None:
    target = Target(slow=True)
    async with World(log=(target, 2), batch=4) as world:
        for number in range(100):
            world.pipeline.claimer.enqueue(armed(number))
        pool = world.pipeline.pools.of("log")
        await until(lambda: pool.room == 0)
        room = len(world.pipeline.in_flight)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(world.pipeline.in_flight) == room == sum(map(len, world.store.claims)) < 100
        assert target.most_under_way == 2
        target.gate.set()
        await until(lambda: len(world.store.finished) == 100)
        assert max(map(len, world.store.claims)) <= 4
        assert max(world.store.finishes) <= 4


async def test_a_slow_target_delays_no_other() -> None:
    slow, quick = Target(slow=True), Target()
    async with World(slow=(slow, 1), quick=(quick, 1)) as world:
        for number in range(200):
            world.pipeline.claimer.enqueue(armed(number, "slow"))
        for number in range(200, 300):
            world.pipeline.claimer.enqueue(armed(number, "quick"))
        await until(lambda: len(quick.asked) == 100)
        assert len(slow.asked) == 1


async def test_entries_start_oldest_first() -> None:
    target = Target()
    async with World(log=(target, 1), batch=3) as world:
        for number in range(30):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: len(target.asked) == 30)
        assert target.asked == list(range(30))


async def test_a_window_opens_whatever_its_target_does() -> None:
    target = Target(slow=True)
    async with World(log=(target, 1)) as world:
        for number in range(50):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: world.pipeline.pools.of("log").room == 0)
        world.pipeline.claimer.enqueue(armed(99, kind=EventKind.OPEN))
        await until(lambda: "window_opened" in world.names())


async def test_lost_claims_are_read_again() -> None:
    async with World(log=(Target(), 1)) as world:
        world.store.losing = {2}
        for number in range(4):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: len(world.store.finished) == 3)
        assert world.timer.rechecked == [2]
        assert 2 in world.timer.settled


async def test_a_bad_row_fails_alone() -> None:
    target = Target()
    async with World(log=(target, 1), batch=8) as world:
        world.store.poison = {3}
        for number in range(8):
            world.pipeline.claimer.enqueue(armed(number))
        world.pipeline.claimer.enqueue(waiting(20))
        await until(lambda: len(world.store.finished) == 8)
        assert sorted(target.asked) == [0, 1, 2, 4, 5, 6, 7, 20]
        (failed,) = [fields for name, fields in world.events if name == "claim_failed"]
        assert failed == {"campaign_id": 3, "error": "ValueError: bad row"}
        assert 3 in world.timer.settled, "it may be loaded again"


async def test_an_unwritable_outcome_frees_its_place() -> None:
    target = Target(slow=True)
    async with World(log=(target, 1), batch=1) as world:
        pool = world.pipeline.pools.of("log")
        for number in range(10):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: pool.room == 0)
        world.store.poison = set(target.asked) | {
            work.campaign_id for work in world.pipeline.in_flight
        }
        held = len(world.store.poison)
        target.gate.set()
        # Once with its outcome, once as a failure that is written in plain words.
        await until(lambda: world.names().count("finish_failed") == 2 * held)
        await until(lambda: len(world.store.finished) == 10 - held)


async def test_an_unwritable_outcome_fails_its_run() -> None:
    """The run would otherwise stay executing for as long as its node lives."""
    target = Target(outcome=Accepted(5.0))
    async with World(log=(target, 1)) as world:
        world.store.unwritable = {Accepted}
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: len(world.pipeline.in_flight) == 0 and bool(world.store.finished))
        assert world.store.finished == [(1, "Reject")]
        assert world.names().count("finish_failed") == 1


async def test_outcomes_outlive_an_outage_that_is_logged_once() -> None:
    target = Target(slow=True)
    async with World(log=(target, 4)) as world:
        for number in range(4):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: target.under_way == 4)
        world.store.down = True
        target.gate.set()
        tries = 0

        def tried() -> bool:
            nonlocal tries
            tries += 1
            return tries > 50

        await until(tried)
        assert (world.store.finished, len(world.pipeline.in_flight)) == ([], 4)
        world.store.down = False
        await until(lambda: len(world.store.finished) == 4)
        assert world.names().count("database_lost") == 1
        assert world.names().count("database_back") == 1
        assert len(world.pipeline.in_flight) == 0


@pytest.mark.parametrize("late", [set(), {1}])
async def test_an_outcome_is_logged_once_although_the_reply_was_lost(late: set[int]) -> None:
    """Both of an attempt and of an expired run, beside others in the same batch."""
    async with World(log=(Target(), 4)) as world:
        world.store.muffled, world.store.late = {1}, late
        for number in range(3):
            world.pipeline.claimer.enqueue(waiting(number))
        await until(lambda: sum(name.startswith("run_") for name in world.names()) == 3)
        assert sorted(number for number, _ in world.store.finished) == [0, 1, 2]
        assert world.names().count("run_finished") == 3 - len(late)
        assert world.names().count("run_retrying") == len(late)
        assert "lease_lost" not in world.names()
        assert len(world.pipeline.in_flight) == 0


async def test_unclaimed_entries_are_claimed_after_the_outage() -> None:
    target = Target()
    async with World(log=(target, 2)) as world:
        world.store.down = True
        for number in range(10):
            world.pipeline.claimer.enqueue(armed(number))
        world.pipeline.claimer.enqueue(waiting(20))
        await until(lambda: "database_lost" in world.names())
        assert world.timer.settled == []
        world.store.down = False
        await until(lambda: len(world.store.finished) == 11)
        assert sorted(target.asked) == [*range(10), 20]
        assert world.names().count("database_lost") == 1


async def test_an_expired_run_ends_without_its_target() -> None:
    target = Target()
    async with World(log=(target, 1)) as world:
        world.store.late = {5}
        world.pipeline.claimer.enqueue(waiting(5))
        await until(lambda: world.store.finished == [(5, "Retry")])
        assert target.asked == []


async def test_a_late_answer_is_logged_and_dropped() -> None:
    async with World(log=(Target(slow=True), 1)) as world:
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: len(world.pipeline.in_flight) == 1)
        world.store.losing = {1}
        world.pipeline.pools.of("log").target.gate.set()
        await until(lambda: "lease_lost" in world.names())
        assert len(world.pipeline.in_flight) == 0
        assert "run_finished" not in world.names()


@pytest.mark.parametrize(
    ("outcome", "event"),
    [(Reject("no"), "run_failed"), (Retry("busy"), "run_retrying"), (Accepted(5), "run_accepted")],
)
async def test_every_outcome_has_its_event(outcome: object, event: str) -> None:
    async with World(log=(Target(outcome=outcome), 1)) as world:
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: event in world.names())
        (fields,) = [fields for name, fields in world.events if name == event]
        assert (fields["campaign_id"], fields["attempt"], fields["target"]) == (1, 1, "log")


async def test_an_unconfigured_target_rejects() -> None:
    async with World(log=(Target(), 1)) as world:
        world.pipeline.claimer.enqueue(armed(1, "elsewhere"))
        await until(lambda: world.store.finished == [(1, "Reject")])


async def test_a_target_that_raises_is_tried_again_and_its_worker_lives() -> None:
    target = Target()

    async def deliver(work: object) -> object:
        target.asked.append(work.campaign_id)
        raise ConnectionError("refused")

    target.deliver = deliver
    async with World(log=(target, 1)) as world:
        for number in range(3):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: len(world.store.finished) == 3)
        assert {name for _, name in world.store.finished} == {"Retry"}
        (fields, *_) = [fields for name, fields in world.events if name == "run_retrying"]
        assert fields["error"] == "ConnectionError: refused"


async def test_the_oldest_claim_is_that_of_the_attempts_in_flight() -> None:
    target = Target(slow=True)
    async with World(log=(target, 1)) as world:
        assert world.pipeline.in_flight.oldest_claim_at() is None
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: len(world.pipeline.in_flight) == 1)
        assert world.pipeline.in_flight.oldest_claim_at() is not None
        target.gate.set()
        await until(lambda: world.pipeline.in_flight.oldest_claim_at() is None)


async def test_a_newer_attempt_is_not_forgotten_with_the_former() -> None:
    """A run can come back to the node that lost it while its former attempt still goes on."""
    target = Target(slow=True)
    async with World(log=(target, 2)) as world:
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: target.under_way == 1)
        (former,) = world.pipeline.in_flight
        world.pipeline.claimer.enqueue(waiting(1))
        await until(lambda: target.under_way == 2)
        (newer,) = world.pipeline.in_flight
        assert (former.number, newer.number) == (1, 2)
        world.pipeline.in_flight.remove(former)
        assert list(world.pipeline.in_flight) == [newer]
        target.gate.set()


async def test_a_campaign_loaded_twice_is_carried_out_once() -> None:
    """Its event from before an outage and its present event are due together."""
    target = Target()
    async with World(log=(target, 1)) as world:
        stale, current = armed(1), armed(1)._replace(revision=2)
        world.store.down = True
        world.pipeline.claimer.enqueue(current)
        world.pipeline.claimer.enqueue(stale)
        await until(lambda: "database_lost" in world.names())
        world.store.down = False
        await until(lambda: len(world.store.finished) == 1)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(target.asked) == 1
        assert world.store.claims == [[1]]
        assert world.timer.settled == [1, 1], "both may be loaded again"


async def test_two_claims_are_under_way_at_once() -> None:
    """The server works on one while the next is made."""
    async with World(log=(Target(), 1)) as world:
        world.store.gate.clear()
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: world.store.claims == [[1]])
        world.pipeline.claimer.enqueue(armed(2))
        await until(lambda: world.store.claims == [[1], [2]])
        world.pipeline.claimer.enqueue(armed(3))
        world.store.gate.set()
        await until(lambda: len(world.store.finished) == 3)
        assert world.store.claims == [[1], [2], [3]]


async def test_unacknowledged_claims_are_reconciled_between_claims() -> None:
    """A claim under way could change what is compared."""
    async with World(log=(Target(), 1)) as world:
        world.store.down = True
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: "database_lost" in world.names())
        world.store.down = False
        world.clock.seconds += 1
        await until(lambda: len(world.store.finished) == 1)
        await until(lambda: len(world.store.asked_unheard) == 1)
        world.store.gate.clear()
        world.pipeline.claimer.enqueue(armed(2))
        await until(lambda: [2] in world.store.claims)
        world.clock.seconds += 1  # the next reconciliation is due
        world.pipeline.claimer.enqueue(armed(3))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(world.store.asked_unheard) == 1
        assert [3] not in world.store.claims, "nor is there a further claim to wait for"
        world.store.gate.set()
        await until(lambda: len(world.store.finished) == 3)
        assert len(world.store.asked_unheard) == 2
