"""The pool of one target: how much is claimed for it, when it pauses, its outcomes."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta

import pytest

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
from tests.support.pipeline_world import AT, Target, World, armed, until


@pytest.mark.parametrize(
    "answer", [None, "done", Accepted(math.inf), Retry("a\0b\udc00", math.nan)]
)
async def test_every_answer_of_a_target_can_be_written(answer: object) -> None:
    target = Target(outcome=answer)  # type: ignore[arg-type]
    async with World(log=(target, 1)) as world:
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: bool(world.store.outcomes))
        (outcome,) = world.store.outcomes
        if isinstance(answer, Accepted):
            assert outcome == Accepted(LONGEST_S)
        elif isinstance(answer, Retry):
            assert isinstance(outcome, Retry)
            assert outcome.reason == "a\\0b\\udc00"
            assert math.isfinite(outcome.after)
        else:
            assert outcome == Reject(f"the target answered {answer!r}, which is no outcome")


async def test_an_attempt_that_did_not_start_does_not_count() -> None:
    """The node lacks descriptors three times; the run is then delivered by its first attempt."""
    target = Target(outcome=NotStarted("Too many open files"))
    target.waits = True
    policy = {"pause_after": 0, "max_attempts": 1, "first_pause": 0.01, "longest_pause": 0.01}
    async with World(log=(target, 2)) as world:
        pool = world.pipeline.pools.of("log")
        pool.replace(target, RetryPolicy(**policy), 2)  # type: ignore[arg-type]
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: len(target.asked) >= 3)
        assert world.store.outcomes == []
        target.outcome = Delivered()
        await until(lambda: bool(world.store.outcomes))
        assert world.store.outcomes == [Delivered()]


async def test_a_slot_that_is_free_is_filled_at_once() -> None:
    """However few are free: due entries do not wait until a claim is worth its cost."""
    target = Target(slow=True)
    target.waits = True
    async with World(batch=100, log=(target, 8)) as world:
        for number in range(20):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: target.under_way == 8)
        pool = world.pipeline.pools.of("log")
        world.clock.seconds += 60
        target.gates[0].set()
        await until(lambda: len(target.asked) == 9)
        assert pool.room == 0


async def test_a_probe_waits_for_no_other_attempt() -> None:
    """One attempt hangs, others fail, the breaker opens; after the pause a probe starts at once."""
    target = Target(slow=True, outcome=Retry("down"))
    target.waits = True
    async with World(pause_after=2, log=(target, 3)) as world:
        for number in range(3):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: target.under_way == 3)
        target.gates[0].set()
        target.gates[1].set()
        pool = world.pipeline.pools.of("log")
        await until(lambda: pool.is_paused and len(world.store.finished) == 2)
        pool._breaker.half_open()
        world.pipeline.claimer.enqueue(armed(3))
        await until(lambda: 3 in target.asked)
        assert target.under_way == 2, "the one that hangs, and the probe"


@pytest.mark.parametrize("pause_after", [0, 2])
async def test_a_reload_ends_a_pause(pause_after: int) -> None:
    """The target may be another one, so it is tried at once: by every attempt, or by a probe."""
    target = Target(outcome=Retry("down"))
    async with World(pause_after=2, log=(target, 2)) as world:
        for number in range(2):
            world.pipeline.claimer.enqueue(armed(number))
        pool = world.pipeline.pools.of("log")
        await until(lambda: pool.is_paused and len(world.pipeline.in_flight) == 0)
        good = Target()
        pool.replace(good, RetryPolicy(pause_after=pause_after), 2)
        for number in range(2, 6):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: sorted(good.asked) == [2, 3, 4, 5])
        assert not pool.is_paused
        assert world.names().count("target_resumed") == 1


async def test_lateness_is_that_of_the_start() -> None:
    """Not of the claim: a claimed attempt may wait for its turn."""
    target = Target(slow=True)
    async with World(log=(target, 1), batch=2) as world:
        world.pipeline.claimer.enqueue(armed(0))
        world.pipeline.claimer.enqueue(armed(1))
        await until(lambda: target.asked == [0] and len(world.pipeline.in_flight) == 2)
        world.clock.seconds += 7
        target.gate.set()
        await until(lambda: len(world.store.finished) == 2)
        late = {
            fields["campaign_id"]: fields["lateness_ms"]
            for name, fields in world.events
            if name == "run_finished"
        }
        assert late == {0: 0.0, 1: 7000.0}
        assert world.store.begun == {0: AT, 1: AT + timedelta(seconds=7)}


async def test_claims_under_way_use_room() -> None:
    """Concurrent claims do not take more than the target may have in flight."""
    target = Target(slow=True)
    async with World(batch=4, log=(target, 1)) as world:
        world.store.gate.clear()
        for number in range(100):
            world.pipeline.claimer.enqueue(armed(number))
        await until(lambda: len(world.store.claims) == 2)
        world.store.gate.set()
        for _ in range(200):
            await asyncio.sleep(0)
        assert sum(map(len, world.store.claims)) <= 1 + 4 * 4
        target.gate.set()
        await until(lambda: len(world.store.finished) == 100)


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
    target = Target(slow=True, outcome=outcome)
    target.waits = True
    async with World(batch=100, log=(target, 2)) as world:
        world.pipeline.claimer.enqueue(armed(0))
        await until(lambda: target.asked == [0])
        world.clock.seconds += attempt_s
        target.gate.set()
        await until(lambda: len(world.store.finished) == 1)
        target.gate.clear()
        for number in range(1, 1000):
            world.pipeline.claimer.enqueue(armed(number))
        for _ in range(500):
            await asyncio.sleep(0)
        assert sum(map(len, world.store.claims)) - 1 == claimed
        target.gate.set()
        await until(lambda: len(world.store.finished) == 1000)
