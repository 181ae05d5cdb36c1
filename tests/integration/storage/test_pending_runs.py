"""Pending runs are loaded in parts, whatever else is pending."""

from __future__ import annotations

import pytest

from daemon.timer.loader import FIRST_RUN
from tests.support.clocks import minutes
from tests.support.timed_database import ALL, TICK, TimedDatabase


async def asked_for(db: TimedDatabase, count: int, target: str) -> list[int]:
    """Start campaigns by hand, a minute apart."""
    ids = []
    for _ in range(count):
        db.advance(minutes(1))
        ids.append(await db.add_draft(target=target))
        await db.control.start(ids[-1], "tester")
    return ids


async def in_parts(
    db: TimedDatabase, size: int, without: list[str] | None = None
) -> list[list[int]]:
    parts: list[list[int]] = []
    since = FIRST_RUN
    while True:
        found = await db.timers.pending_runs(since, db.now + TICK, db.now, ALL, size, without or [])
        parts.append([run.campaign_id for run in found])
        if len(found) < size:
            return parts
        since = found[-1].at, found[-1].campaign_id, found[-1].scheduled_for


async def test_each_once_and_oldest_first(db: TimedDatabase) -> None:
    slow = await asked_for(db, 5, "slow")
    other = await asked_for(db, 2, "other")
    assert await in_parts(db, 3) == [slow[:3], [*slow[3:], other[0]], other[1:]]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
async def test_many_at_one_instant(db: TimedDatabase, size: int) -> None:
    """This happens after a node is lost, and with several runs of one campaign."""
    ids = await asked_for(db, 4, "slow")
    await db.rows("UPDATE runs SET next_attempt_at = :now", now=db.now)
    await db.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, claimed_at, next_attempt_at,"
        " start_before) SELECT campaign_id, scheduled_for - interval '1 hour', gen_random_uuid(),"
        " 'queued', now(), next_attempt_at, start_before FROM runs WHERE campaign_id = :id",
        id=ids[1],
    )
    parts = await in_parts(db, size)
    expected = [ids[0], ids[1], ids[1], ids[2], ids[3]]
    assert [campaign_id for part in parts for campaign_id in part] == expected
    assert all(len(part) == size for part in parts[:-1])


async def test_runs_of_full_targets_are_left_out(db: TimedDatabase) -> None:
    await asked_for(db, 3, "slow")
    other = await asked_for(db, 1, "other")
    assert await in_parts(db, 2, ["slow"]) == [other]
    assert await in_parts(db, 2, ["slow", "other"]) == [[]]
