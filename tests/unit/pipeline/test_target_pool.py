"""The pool of one target: how much is claimed for it, when it pauses, its outcomes."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta

import pytest

from daemon.domain.run.attempt import UNREAD
from daemon.domain.run.outcome import (
    LONGEST_S,
    Accepted,
    Delivered,
    NotStarted,
    Outcome,
    Reject,
    Retry,
)
from daemon.domain.run.retry import RetryPolicy
from tests.support.builders import armed_once, pending_run
from tests.support.clocks import NOON
from tests.support.pipeline_harness import GatedTarget, PipelineHarness
from tests.support.waiting import spin_until


@pytest.mark.parametrize(
    "answer", [None, "done", Accepted(math.inf), Retry("a\0b\udc00", math.nan)]
)
async def test_every_answer_of_a_target_can_be_written(answer: object) -> None:
    target = GatedTarget(outcome=answer)  # type: ignore[arg-type]
    async with PipelineHarness(log=(target, 1)) as harness:
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: bool(harness.store.outcomes))
        (outcome,) = harness.store.outcomes
        if isinstance(answer, Accepted):
            assert outcome == Accepted(LONGEST_S)
        elif isinstance(answer, Retry):
            assert isinstance(outcome, Retry)
            assert outcome.reason == "a\\0b\\udc00"
            assert math.isfinite(outcome.after)
        else:
            assert outcome == Reject(f"the target answered {answer!r}, which is no outcome")


async def test_a_run_claimed_without_its_payload_is_claimed_again_for_a_target_that_sends_it() -> (
    None
):
    """A reload replaced the target between claim and delivery."""
    target = GatedTarget()
    async with PipelineHarness(log=(target, 1)) as harness:
        harness.store.payload = UNREAD
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: bool(harness.store.outcomes))
        (outcome,) = harness.store.outcomes
        assert isinstance(outcome, Retry)
        assert target.asked == []
        target.sends_payload = False
        harness.pipeline.claimer.enqueue([armed_once(2)])
        await spin_until(lambda: harness.store.outcomes[1:] == [Delivered()])


async def test_an_attempt_that_did_not_start_does_not_count() -> None:
    """The node lacks descriptors three times; the run is then delivered by its first attempt."""
    target = GatedTarget(outcome=NotStarted("Too many open files"))
    target.waits = True
    policy = {"pause_after": 0, "max_attempts": 1, "first_pause": 0.01, "longest_pause": 0.01}
    async with PipelineHarness(log=(target, 2)) as harness:
        pool = harness.pipeline.pools.of("log")
        pool.replace(target, RetryPolicy(**policy), 2)  # type: ignore[arg-type]
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: len(target.asked) >= 3)
        assert harness.store.outcomes == []
        target.outcome = Delivered()
        await spin_until(lambda: bool(harness.store.outcomes))
        assert harness.store.outcomes == [Delivered()]


async def test_a_slot_that_is_free_is_filled_at_once() -> None:
    """However few are free: due entries do not wait until a claim is worth its cost."""
    target = GatedTarget(slow=True)
    target.waits = True
    async with PipelineHarness(batch=100, log=(target, 8)) as harness:
        for number in range(20):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: target.under_way == 8)
        pool = harness.pipeline.pools.of("log")
        harness.clock.seconds += 60
        target.gates[0].set()
        await spin_until(lambda: len(target.asked) == 9)
        assert pool.room == 0


async def test_a_probe_waits_for_no_other_attempt() -> None:
    """One attempt hangs, others fail, the breaker opens; after the pause a probe starts at once."""
    target = GatedTarget(slow=True, outcome=Retry("down"))
    target.waits = True
    async with PipelineHarness(pause_after=2, log=(target, 3)) as harness:
        for number in range(3):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: target.under_way == 3)
        target.gates[0].set()
        target.gates[1].set()
        pool = harness.pipeline.pools.of("log")
        await spin_until(lambda: pool.is_paused and len(harness.store.finished) == 2)
        pool._breaker.half_open()
        harness.pipeline.claimer.enqueue([armed_once(3)])
        await spin_until(lambda: 3 in target.asked)
        assert target.under_way == 2, "the one that hangs, and the probe"


@pytest.mark.parametrize("pause_after", [0, 2])
async def test_a_reload_ends_a_pause(pause_after: int) -> None:
    """The target may be another one, so it is tried at once: by every attempt, or by a probe."""
    target = GatedTarget(outcome=Retry("down"))
    async with PipelineHarness(pause_after=2, log=(target, 2)) as harness:
        for number in range(2):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        pool = harness.pipeline.pools.of("log")
        await spin_until(lambda: pool.is_paused and len(harness.pipeline.in_flight) == 0)
        good = GatedTarget()
        pool.replace(good, RetryPolicy(pause_after=pause_after), 2)
        for number in range(2, 6):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: sorted(good.asked) == [2, 3, 4, 5])
        assert not pool.is_paused
        assert harness.event_names().count("target_resumed") == 1


async def test_lateness_is_that_of_the_start() -> None:
    """Not of the claim: a claimed attempt may wait for its turn."""
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 1), batch=2) as harness:
        harness.pipeline.claimer.enqueue([armed_once(0)])
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: target.asked == [0] and len(harness.pipeline.in_flight) == 2)
        harness.clock.seconds += 7
        target.gate.set()
        await spin_until(lambda: len(harness.store.finished) == 2)
        late = {
            fields["campaign_id"]: fields["lateness_ms"]
            for name, fields in harness.events
            if name == "run_finished"
        }
        assert late == {0: 0.0, 1: 7000.0}
        assert harness.store.begun == {0: NOON, 1: NOON + timedelta(seconds=7)}


async def test_claims_under_way_use_room() -> None:
    """Concurrent claims do not take more than the target may have in flight."""
    target = GatedTarget(slow=True)
    async with PipelineHarness(batch=4, log=(target, 1)) as harness:
        harness.store.gate.clear()
        for number in range(100):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        await spin_until(lambda: len(harness.store.claims) == 2)
        harness.store.gate.set()
        for _ in range(200):
            await asyncio.sleep(0)
        assert sum(map(len, harness.store.claims)) <= 1 + 4 * 4
        target.gate.set()
        await spin_until(lambda: len(harness.store.finished) == 100)


@pytest.mark.parametrize(
    ("attempt_s", "outcome", "claimed"),
    [
        (0.0, Delivered(), 2 * 100),
        (60.0, Delivered(), 2),
        (0.0, Retry("refused"), 2),
    ],
)
async def test_the_duration_of_attempts_limits_what_is_claimed_in_advance(
    attempt_s: float, outcome: Outcome, claimed: int
) -> None:
    """A quick target gets many runs in advance, because claims cost much the same; a slow one none.

    Its runs would wait here while another node idles. A target that is down fails quickly, which
    does not mean that it has room.
    """
    target = GatedTarget(slow=True, outcome=outcome)
    target.waits = True
    async with PipelineHarness(batch=100, log=(target, 2)) as harness:
        harness.pipeline.claimer.enqueue([armed_once(0)])
        await spin_until(lambda: target.asked == [0])
        harness.clock.seconds += attempt_s
        target.gate.set()
        await spin_until(lambda: len(harness.store.finished) == 1)
        target.gate.clear()
        for number in range(1, 1000):
            harness.pipeline.claimer.enqueue([armed_once(number)])
        for _ in range(500):
            await asyncio.sleep(0)
        assert sum(map(len, harness.store.claims)) - 1 == claimed
        target.gate.set()
        await spin_until(lambda: len(harness.store.finished) == 1000)


async def test_a_later_attempt_starts_once_the_earlier_one_is_cancelled() -> None:
    """A node that had lost its lease may claim a run that it still has in hand."""
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 2)) as harness:
        harness.pipeline.claimer.enqueue([armed_once(1)])
        await spin_until(lambda: target.asked == [1])
        harness.pipeline.claimer.enqueue([pending_run(1)])
        await spin_until(lambda: target.asked == [1, 1])
        assert target.most_under_way == 1
        (cancelled,) = [fields for name, fields in harness.events if name == "attempt_cancelled"]
        assert cancelled["attempt"] == 1
        target.gate.set()
        await spin_until(lambda: len(harness.store.finished) == 1)
        (finished,) = [fields for name, fields in harness.events if name == "run_finished"]
        assert finished["attempt"] == 2
        assert len(harness.pipeline.in_flight) == harness.pipeline.in_flight.count("log") == 0


async def test_an_attempt_that_waits_for_an_earlier_one_is_superseded_too() -> None:
    """The earlier attempts never started, so no target is asked to cancel them."""
    target = GatedTarget(slow=True)
    async with PipelineHarness(log=(target, 1)) as harness:
        harness.pipeline.claimer.enqueue([armed_once(1)])
        harness.pipeline.claimer.enqueue([armed_once(2)])
        await spin_until(lambda: target.asked == [1] and len(harness.pipeline.in_flight) == 2)
        for _ in range(2):
            harness.pipeline.claimer.enqueue([pending_run(2)])
            await spin_until(
                lambda: len(harness.pipeline.in_flight) == 2 and not harness.pipeline.due
            )
        target.gate.set()
        await spin_until(lambda: len(harness.store.finished) == 2)
        assert target.asked == [1, 2]
        assert harness.event_names().count("attempt_cancelled") == 2


async def test_an_attempt_of_a_batch_is_cancelled_alone() -> None:
    """The others go on, and the outcome of the cancelled one is not written."""
    target = GatedTarget(slow=True)
    target.batch_size = 3
    async with PipelineHarness(log=(target, 1)) as harness:
        harness.pipeline.claimer.enqueue([armed_once(number) for number in range(3)])
        await spin_until(lambda: target.under_way == 1)
        _, second, _ = harness.pipeline.in_flight
        harness.pipeline.pools.of("log").cancel(second)
        target.gate.set()
        await spin_until(lambda: len(harness.store.finished) == 2)
        assert sorted(number for number, _ in harness.store.finished) == [0, 2]
        assert harness.event_names().count("attempt_cancelled") == 1


async def test_cancelling_an_attempt_that_was_too_late_leaves_its_batch_alone() -> None:
    """Its outcome is on its way already, and the target was not asked for it."""
    target = GatedTarget(slow=True)
    target.batch_size = 2
    async with PipelineHarness(log=(target, 1)) as harness:
        harness.store.locked = {1}  # so that it stays in flight
        late, ready = (harness.store._make_attempt(number, "log") for number in (1, 2))
        late = late._replace(start_before=late.scheduled_for - timedelta(hours=1))
        pool = harness.pipeline.pools.of("log")
        pool.dispatch([late, ready])
        await spin_until(lambda: target.asked == [2])
        pool.cancel(late)
        target.gate.set()
        await spin_until(lambda: harness.store.finished == [(2, "Delivered")])
        assert "attempt_cancelled" not in harness.event_names()
        harness.store.locked = set()
