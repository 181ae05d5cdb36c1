"""A pending run that was loaded twice, as due at two instants, is attempted once."""

from __future__ import annotations

from daemon.domain.run.outcome import Retry
from tests.support.builders import once_body
from tests.support.clocks import NOON, hours, seconds
from tests.support.timed_database import open_timed_database


async def test_one_attempt_for_a_run_loaded_twice(database_url: str) -> None:
    """Both entries are in one batch; one attempt is started and logged."""
    async with open_timed_database(database_url) as db:
        node = await db.register_node()
        campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
        db.advance(hours(1))
        (claimed,) = await node.claim_all()
        assert claimed.attempt is not None
        await node.finish(claimed.attempt, Retry("not yet", 1.0))
        db.advance(seconds(5))
        (waiting,) = await db.due_pending_runs()

        works, late = await node.claim_attempts([waiting, waiting._replace(at=db.now)])

        assert [work.number for work in works] == [2]
        assert late == []
        assert [event.event for event in await db.events_of(campaign_id)].count("attempt") == 1
        await db.check_invariants(campaign_id)
