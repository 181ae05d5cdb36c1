"""The cost of a burst, in counts that no other load on the machine changes."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import daemon
from tests.support.builders import armed_once
from tests.support.pipeline_harness import GatedTarget, PipelineHarness
from tests.support.waiting import spin_until

OURS = str(Path(daemon.__file__).parent)
BATCH = 500
MOST_CALLS = 15
"""Maximum function calls for one fire, from due to written, with a target that takes batches."""


async def burst(count: int) -> tuple[PipelineHarness, Counter[str]]:
    """Fire ``count`` entries at once; return the world, and how often each function was called."""
    entries = [armed_once(number) for number in range(count)]
    calls: Counter[str] = Counter()

    def profile(frame: FrameType, what: str, _argument: object) -> None:
        if what == "call" and frame.f_code.co_filename.startswith(OURS):
            calls[frame.f_code.co_qualname] += 1

    target = GatedTarget()
    target.batch_size = BATCH
    async with PipelineHarness(log=(target, 2), batch=BATCH) as harness:
        sys.setprofile(profile)
        try:
            harness.pipeline.claimer.enqueue(entries)
            await spin_until(lambda: len(harness.store.finished) == count)
        finally:
            sys.setprofile(None)
    return harness, calls


async def test_a_burst_is_claimed_in_full_batches() -> None:
    """Claims are as large as allowed; a finish takes the outcomes that have gathered."""
    harness, _ = await burst(10 * BATCH)
    assert len(harness.store.claims) <= 12
    assert len(harness.store.finishes) <= 10 * BATCH / 50
    assert max(map(len, harness.store.claims)) == BATCH


async def test_calls_for_one_fire_do_not_depend_on_the_burst() -> None:
    """No step of the pipeline walks over the other runs of the burst."""
    _, few = await burst(BATCH)
    _, many = await burst(10 * BATCH)
    each = {name: calls / 10 / BATCH for name, calls in many.items()}
    print(f"\n{sum(each.values()):.1f} calls a fire")
    assert 1 < sum(each.values()) <= MOST_CALLS, sorted(each.items(), key=lambda item: -item[1])
    assert sum(each.values()) <= 1.1 * few.total() / BATCH
