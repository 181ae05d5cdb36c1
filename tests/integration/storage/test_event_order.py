"""Several runs of one campaign end in one statement: the history stays one chain."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from daemon.domain.run.attempt import FinishedAttempt
from daemon.domain.run.outcome import Delivered
from tests.support.clocks import hours, seconds
from tests.support.timed_database import open_timed_database, store_continuous


@pytest.mark.parametrize("seed", range(4))
async def test_the_event_that_moves_the_campaign_comes_last(database_url: str, seed: int) -> None:
    """The order of the outcomes in the batch does not matter."""
    async with open_timed_database(database_url) as db:
        node = await db.register_node()
        campaign_id = await store_continuous(db, 60, hours(1), overlap="allow")
        db.advance(hours(1))
        for _ in range(6):
            await node.claim_all()
            db.advance(seconds(60))
        works = await db.executing_attempts(campaign_id)
        assert len(works) == 6
        random.Random(seed).shuffle(works)

        node.firing.now = db.now
        await node.finish_batch(
            *(FinishedAttempt(work, Delivered(), "executing", None) for work in works)
        )

        events = await db.events_of(campaign_id)
        chain = [(event.from_status, event.to_status) for event in events if event.from_status]
        for before, after in pairwise(chain):
            assert before[1] == after[0], chain
        ended = [event.scheduled_for for event in events if event.event == "run_ended"]
        assert ended == sorted(ended)
