"""A pending run that was loaded twice, as due at two instants, is attempted once."""

from __future__ import annotations

from daemon.domain.run.outcome import Retry
from tests.support.database_world import NOON, hours, once, opened, seconds


async def test_one_attempt_for_a_run_loaded_twice(database_url: str) -> None:
    """Both entries are in one batch; one attempt is started and logged."""
    async with opened(database_url) as world:
        node = await world.node()
        campaign_id = await world.saved(once(NOON + hours(1)))
        world.after(hours(1))
        (claimed,) = await node.claim_all()
        assert claimed.attempt is not None
        await node.finish(claimed.attempt, Retry("not yet", 1.0))
        world.after(seconds(5))
        (waiting,) = await world.waiting()

        works, late = await node.attempts([waiting, waiting._replace(at=world.now)])

        assert [work.number for work in works] == [2]
        assert late == []
        assert [event.event for event in await world.events(campaign_id)].count("attempt") == 1
        await world.check(campaign_id)
