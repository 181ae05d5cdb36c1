"""Pending runs are loaded in parts, whatever else is pending."""

from __future__ import annotations

import pytest

from daemon.timer.loader import FIRST_RUN
from tests.support.database_world import ALL, TICK, World, minutes


async def asked_for(world: World, count: int, target: str) -> list[int]:
    """Start campaigns by hand, a minute apart."""
    ids = []
    for _ in range(count):
        world.after(minutes(1))
        ids.append(await world.create(target=target))
        await world.control.start(ids[-1], "tester")
    return ids


async def in_parts(world: World, size: int, without: list[str] | None = None) -> list[list[int]]:
    parts: list[list[int]] = []
    since = FIRST_RUN
    while True:
        found = await world.timers.pending_runs(
            since, world.now + TICK, world.now, ALL, size, without or []
        )
        parts.append([run.campaign_id for run in found])
        if len(found) < size:
            return parts
        since = found[-1].at, found[-1].campaign_id, found[-1].scheduled_for


async def test_each_once_and_oldest_first(world: World) -> None:
    slow = await asked_for(world, 5, "slow")
    other = await asked_for(world, 2, "other")
    assert await in_parts(world, 3) == [slow[:3], [*slow[3:], other[0]], other[1:]]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
async def test_many_at_one_instant(world: World, size: int) -> None:
    """This happens after a node is lost, and with several runs of one campaign."""
    ids = await asked_for(world, 4, "slow")
    await world.rows("UPDATE runs SET next_attempt_at = :now", now=world.now)
    await world.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, claimed_at, next_attempt_at,"
        " start_before) SELECT campaign_id, scheduled_for - interval '1 hour', gen_random_uuid(),"
        " 'queued', now(), next_attempt_at, start_before FROM runs WHERE campaign_id = :id",
        id=ids[1],
    )
    parts = await in_parts(world, size)
    expected = [ids[0], ids[1], ids[1], ids[2], ids[3]]
    assert [campaign_id for part in parts for campaign_id in part] == expected
    assert all(len(part) == size for part in parts[:-1])


async def test_runs_of_full_targets_are_left_out(world: World) -> None:
    await asked_for(world, 3, "slow")
    other = await asked_for(world, 1, "other")
    assert await in_parts(world, 2, ["slow"]) == [other]
    assert await in_parts(world, 2, ["slow", "other"]) == [[]]
