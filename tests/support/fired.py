"""A run that fired, and the value that describes it when it is reclaimed."""

from __future__ import annotations

from daemon.domain.run.attempt import Attempt, ReclaimedRun
from tests.support.database_world import NOON, Node, World, hours, once

AT = NOON + hours(1)


async def fired(world: World, node: Node) -> tuple[int, Attempt]:
    """Store a one-off whose run is executing on `node`."""
    campaign_id = await world.saved(once(AT))
    world.set(AT)
    (won,) = await node.claim()
    return campaign_id, won.attempt


def taken_back(work: Attempt, status: str, error: str | None) -> ReclaimedRun:
    """Return the description of a reclaimed run."""
    return ReclaimedRun(
        work.campaign_id,
        work.campaign_uuid,
        work.run_id,
        work.scheduled_for,
        work.number,
        work.target,
        status,
        error,
    )
