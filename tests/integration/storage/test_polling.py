"""The poll of changes: the guarantee behind notifications, whatever order writers commit in."""

from __future__ import annotations

import asyncio
import random

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.database_world import NOON, World, hours, iso, once

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


async def changes(world: World, xmin: str, max_rows: int) -> tuple[str, list[int]]:
    """Return the xmin of the next poll, and the campaigns written since the given xmin."""
    result = await world.timers.poll(xmin, NOON, NOON, max_rows)
    return result.xmin, result.campaign_ids


async def test_commits_out_of_order_are_seen(world: World) -> None:
    first, second, third = [await world.saved(once(NOON + hours(1))) for _ in range(3)]
    xmin, _ = await changes(world, "0", MANY)
    _, found = await changes(world, xmin, MANY)
    assert found == []
    async with world.database.engine.connect() as early:
        await early.begin()
        await write(early, first)
        await world.control.save_schedule(second, once(NOON + hours(2)), "tester")
        xmin, found = await changes(world, xmin, MANY)
        assert found == [second]
        await world.control.save_schedule(third, once(NOON + hours(2)), "tester")
        xmin, found = await changes(world, xmin, MANY)
        assert third in found
        await early.commit()
    xmin, found = await changes(world, xmin, MANY)
    assert first in found
    xmin, found = await changes(world, xmin, MANY)
    assert found == [], "seen once, and no transaction is open: the poll returns nothing again"


async def test_every_command_that_moves_the_timer_is_seen(world: World) -> None:
    ahead = iso(NOON + hours(2))
    campaign_id = await world.create("recurring")
    xmin, _ = await changes(world, "0", MANY)
    for command in (
        lambda: world.control.update_schedule(campaign_id, {"startdate": ahead}, "tester"),
        lambda: world.control.start(campaign_id, "tester"),
        lambda: world.control.save_schedule(campaign_id, once(NOON + hours(1)), "tester"),
        lambda: world.control.stop(campaign_id, "tester"),
    ):
        await command()
        xmin, found = await changes(world, xmin, MANY)
        assert found == [campaign_id]


async def test_no_more_rows_than_the_limit(world: World) -> None:
    ids = [await world.saved(once(NOON + hours(1))) for _ in range(5)]
    _, found = await changes(world, "0", 3)
    assert found == ids[:3]


async def test_writers_at_once_are_all_seen(world: World) -> None:
    """Many writers keep their transactions open for a while, beside one poller."""
    ids = [await world.saved(once(NOON + hours(1))) for _ in range(12)]
    xmin, _ = await changes(world, "0", MANY)
    seen: list[int] = []
    order = random.Random(7)
    connections = [await world.database.engine.connect() for _ in range(4)]
    try:
        for round_ in range(3):
            mine = ids[round_ * 4 : round_ * 4 + 4]
            for connection, campaign_id in zip(connections, mine, strict=True):
                await connection.begin()
                await write(connection, campaign_id)
            xmin, found = await changes(world, xmin, MANY)
            seen += found
            assert not set(mine) & set(found), "not committed yet"
            for number in order.sample(range(4), 4):
                await connections[number].commit()
                xmin, found = await changes(world, xmin, MANY)
                assert mine[number] in found
                seen += found
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))
    assert set(seen) == set(ids)


async def test_a_poll_reports_overdue_events_and_pending_runs(world: World) -> None:
    """Most polls find nothing, and then no further statement is sent."""
    due = NOON + hours(1)
    await world.saved(once(due))
    quiet = await world.timers.poll("0", due, NOON + hours(9), MANY)
    assert (quiet.overdue, quiet.waiting) == (False, False)
    late = await world.timers.poll("0", due + hours(1), NOON + hours(9), MANY)
    assert (late.overdue, late.waiting) == (True, False)
    draft = await world.create("one_time")
    await world.control.start(draft, "tester")
    asked = await world.timers.poll("0", due, NOON + hours(9), MANY)
    assert (asked.overdue, asked.waiting) == (False, True)
