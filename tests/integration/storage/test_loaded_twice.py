"""A pending run that was loaded twice, as due at two instants, is attempted once."""

from __future__ import annotations

from daemon.domain.run.outcome import Retry
from tests.support.builders import once_body
from tests.support.clocks import NOON, hours, seconds
from tests.support.timed_database import opened


async def test_one_attempt_for_a_run_loaded_twice(database_url: str) -> None:
    """Both entries are in one batch; one attempt is started and logged."""
    async with opened(database_url) as db:
        node = await db.node()
        campaign_id = await db.saved(once_body(NOON + hours(1)))
        db.after(hours(1))
        (claimed,) = await node.claim_all()
        assert claimed.attempt is not None
        await node.finish(claimed.attempt, Retry("not yet", 1.0))
        db.after(seconds(5))
        (waiting,) = await db.waiting()

        works, late = await node.attempts([waiting, waiting._replace(at=db.now)])

        assert [work.number for work in works] == [2]
        assert late == []
        assert [event.event for event in await db.events(campaign_id)].count("attempt") == 1
        await db.check(campaign_id)
