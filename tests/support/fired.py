"""A run that fired, and the value that describes it when it is reclaimed."""

from __future__ import annotations

from daemon.domain.run.attempt import Attempt, ReclaimedRun
from tests.support.builders import once_body
from tests.support.clocks import NOON, hours
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase

AT = NOON + hours(1)


async def fire_one_off(db: TimedDatabase, node: DatabaseNode) -> tuple[int, Attempt]:
    """Store a one-off whose run is executing on `node`."""
    campaign_id = await db.add_scheduled(once_body(AT))
    db.set_time(AT)
    (won,) = await node.claim()
    return campaign_id, won.attempt


def reclaimed_run_of(work: Attempt, status: str, error: str | None) -> ReclaimedRun:
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
