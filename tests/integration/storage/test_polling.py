"""The poll of changes: the guarantee behind notifications, whatever order writers commit in."""

from __future__ import annotations

import asyncio
import random

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.builders import once_body
from tests.support.clocks import NOON, hours
from tests.support.timed_database import TimedDatabase, request_text

MANY = 10_000


async def write(connection: AsyncConnection, campaign_id: int) -> None:
    """Write a definition like an edit, in a transaction that the test holds open."""
    await connection.execute(
        sa.text(
            "UPDATE schedule_definitions SET changed_in = pg_current_xact_id()"
            " WHERE campaign_id = :id"
        ),
        {"id": campaign_id},
    )


async def changes(db: TimedDatabase, xmin: str, max_rows: int) -> tuple[str, list[int]]:
    """Return the xmin of the next poll, and the campaigns written since the given xmin."""
    result = await db.timers.poll(xmin, NOON, NOON, max_rows)
    return result.xmin, result.campaign_ids


async def test_commits_out_of_order_are_seen(db: TimedDatabase) -> None:
    first, second, third = [await db.add_scheduled(once_body(NOON + hours(1))) for _ in range(3)]
    xmin, _ = await changes(db, "0", MANY)
    _, found = await changes(db, xmin, MANY)
    assert found == []
    async with db.database.engine.connect() as early:
        await early.begin()
        await write(early, first)
        await db.control.save_schedule(second, once_body(NOON + hours(2)), "tester")
        xmin, found = await changes(db, xmin, MANY)
        assert found == [second]
        await db.control.save_schedule(third, once_body(NOON + hours(2)), "tester")
        xmin, found = await changes(db, xmin, MANY)
        assert third in found
        await early.commit()
    xmin, found = await changes(db, xmin, MANY)
    assert first in found
    xmin, found = await changes(db, xmin, MANY)
    assert found == [], "seen once, and no transaction is open: the poll returns nothing again"


async def test_marks_of_another_server_are_corrected(
    db: TimedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restored dump has ids of the future, so that every poll took all schedules for changed."""
    monkeypatch.setattr("storage.timers.MARKS_AT_ONCE", 2)
    campaigns = [await db.add_scheduled(once_body(NOON + hours(1))) for _ in range(5)]
    xmin, _ = await changes(db, "0", MANY)
    await db.rows("UPDATE schedule_definitions SET changed_in = '100000000'")
    for _ in range(2):
        xmin, found = await changes(db, xmin, MANY)
        assert sorted(found) == campaigns
    assert await db.timers.correct_change_marks() == len(campaigns)
    xmin, found = await changes(db, xmin, MANY)
    assert sorted(found) == campaigns, "an edit meanwhile would not be missed"
    xmin, found = await changes(db, xmin, MANY)
    assert found == []
    assert await db.timers.correct_change_marks() == 0


async def test_every_command_that_moves_the_timer_is_seen(db: TimedDatabase) -> None:
    ahead = request_text(NOON + hours(2))
    campaign_id = await db.add_draft("recurring")
    xmin, _ = await changes(db, "0", MANY)
    for command in (
        lambda: db.control.update_schedule(campaign_id, {"startdate": ahead}, "tester"),
        lambda: db.control.start(campaign_id, "tester"),
        lambda: db.control.save_schedule(campaign_id, once_body(NOON + hours(1)), "tester"),
        lambda: db.control.stop(campaign_id, "tester"),
    ):
        await command()
        xmin, found = await changes(db, xmin, MANY)
        assert found == [campaign_id]


async def test_no_more_rows_than_the_limit(db: TimedDatabase) -> None:
    ids = [await db.add_scheduled(once_body(NOON + hours(1))) for _ in range(5)]
    _, found = await changes(db, "0", 3)
    assert found == ids[:3]


async def test_writers_at_once_are_all_seen(db: TimedDatabase) -> None:
    """Many writers keep their transactions open for a while, beside one poller."""
    ids = [await db.add_scheduled(once_body(NOON + hours(1))) for _ in range(12)]
    xmin, _ = await changes(db, "0", MANY)
    seen: list[int] = []
    order = random.Random(7)
    connections = [await db.database.engine.connect() for _ in range(4)]
    try:
        for round_ in range(3):
            mine = ids[round_ * 4 : round_ * 4 + 4]
            for connection, campaign_id in zip(connections, mine, strict=True):
                await connection.begin()
                await write(connection, campaign_id)
            xmin, found = await changes(db, xmin, MANY)
            seen += found
            assert not set(mine) & set(found), "not committed yet"
            for number in order.sample(range(4), 4):
                await connections[number].commit()
                xmin, found = await changes(db, xmin, MANY)
                assert mine[number] in found
                seen += found
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))
    assert set(seen) == set(ids)


async def test_a_poll_reports_overdue_events_and_pending_runs(db: TimedDatabase) -> None:
    """Most polls find nothing, and then no further statement is sent."""
    due = NOON + hours(1)
    await db.add_scheduled(once_body(due))
    quiet = await db.timers.poll("0", due, NOON + hours(9), MANY)
    assert (quiet.overdue, quiet.waiting) == (False, False)
    late = await db.timers.poll("0", due + hours(1), NOON + hours(9), MANY)
    assert (late.overdue, late.waiting) == (True, False)
    draft = await db.add_draft("one_time")
    await db.control.start(draft, "tester")
    asked = await db.timers.poll("0", due, NOON + hours(9), MANY)
    assert (asked.overdue, asked.waiting) == (False, True)
