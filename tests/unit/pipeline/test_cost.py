"""What a burst costs, in counts that no other load on the machine changes."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import daemon
from tests.support.pipeline_world import Target, World, armed, until

OURS = str(Path(daemon.__file__).parent)
BATCH = 500
MOST_CALLS = 52
"""Calls of functions of the daemon for one fire, from due to written: a third more than needed."""


async def burst(count: int) -> tuple[World, Counter[str]]:
    """Let so many be due at once; the world after it, and how often each function was called."""
    entries = [armed(number) for number in range(count)]
    calls: Counter[str] = Counter()

    def profile(frame: FrameType, what: str, _argument: object) -> None:
        if what == "call" and frame.f_code.co_filename.startswith(OURS):
            calls[frame.f_code.co_qualname] += 1

    async with World(log=(Target(), 2), batch=BATCH) as world:
        sys.setprofile(profile)
        try:
            for entry in entries:
                world.pipeline.claimer.enqueue(entry)
            await until(lambda: len(world.store.finished) == count)
        finally:
            sys.setprofile(None)
    return world, calls


async def test_a_burst_goes_in_full_batches() -> None:
    """Claims carry as much as they may; a finish, written at once here, what ended meanwhile."""
    world, _ = await burst(10 * BATCH)
    assert len(world.store.claims) <= 12
    assert len(world.store.finishes) <= 10 * BATCH / 50
    assert max(map(len, world.store.claims)) == BATCH


async def test_a_fire_takes_few_calls_however_many_are_due() -> None:
    """No step of the pipeline looks at the other runs of the burst."""
    _, few = await burst(BATCH)
    _, many = await burst(10 * BATCH)
    each = {name: calls / 10 / BATCH for name, calls in many.items()}
    print(f"\n{sum(each.values()):.1f} calls a fire")
    assert 1 < sum(each.values()) <= MOST_CALLS, sorted(each.items(), key=lambda item: -item[1])
    assert sum(each.values()) <= 1.1 * few.total() / BATCH
