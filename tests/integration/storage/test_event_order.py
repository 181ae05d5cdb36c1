"""Several runs of one campaign end in one statement: the history stays one chain."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from daemon.domain.run.attempt import FinishedAttempt
from daemon.domain.run.outcome import Delivered
from tests.support.database_world import continuous, hours, opened, seconds


@pytest.mark.parametrize("seed", range(4))
async def test_the_event_that_moves_the_campaign_comes_last(database_url: str, seed: int) -> None:
    """The order of the outcomes in the batch does not matter."""
    async with opened(database_url) as world:
        node = await world.node()
        campaign_id = await continuous(world, 60, hours(1), overlap="allow")
        world.after(hours(1))
        for _ in range(6):
            await node.claim_all()
            world.after(seconds(60))
        works = await world.works(campaign_id)
        assert len(works) == 6
        random.Random(seed).shuffle(works)

        node.firing.now = world.now
        await node.firing.finish(
            [FinishedAttempt(work, Delivered(), "executing", None) for work in works]
        )

        events = await world.events(campaign_id)
        chain = [(event.from_status, event.to_status) for event in events if event.from_status]
        for before, after in pairwise(chain):
            assert before[1] == after[0], chain
        ended = [event.scheduled_for for event in events if event.event == "run_ended"]
        assert ended == sorted(ended)
