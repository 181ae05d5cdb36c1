"""Why a campaign ran at an instant, or did not, from the stored evidence."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from daemon.domain.campaign.explain import Evidence, why
from daemon.domain.run.outcome import Delivered
from storage.explain_reads import ExplainReads
from tests.support.database_world import NOON, Node, World, daily, days, hours, minutes, once

MINUTE = timedelta(minutes=1)


async def record(world: World, campaign_id: int, at: datetime, *, nodes: int = 1) -> Evidence:
    """Return the evidence, with the clock of the test."""
    found = await ExplainReads(world.database).record(campaign_id, at, MINUTE)
    return dataclasses.replace(
        found,
        now=world.now,
        live_nodes=nodes,
        saved_at=NOON,
        campaign=dataclasses.replace(found.campaign, created_at=NOON),
    )


async def explained(world: World, campaign_id: int, at: datetime, *, nodes: int = 1) -> str:
    """Return the explanation."""
    return why(await record(world, campaign_id, at, nodes=nodes))


async def test_it_ran(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1)))
    world.set(NOON + hours(1))
    (won,) = await node.claim()
    assert "it is in progress" in await explained(world, campaign_id, NOON + hours(1))
    await node.finish(won.attempt, Delivered())
    found = await record(world, campaign_id, NOON + hours(1))
    assert why(found).startswith("it ran: started at 2026-06-01T13:00:00Z, 0.000 s late, attempt 1")
    assert next(event.event for event in found.run_events) == "fire"


async def test_a_minute_covers_all_its_seconds(world: World, node: Node) -> None:
    campaign_id = await world.saved(once(NOON + hours(1) + timedelta(seconds=17)))
    world.set(NOON + hours(2))
    await node.claim()
    found = await record(world, campaign_id, NOON + hours(1))
    assert found.run is not None
    assert found.at == NOON + hours(1) + timedelta(seconds=17)


async def test_it_failed(world: World, node: Node) -> None:
    campaign_id = await world.saved(once(NOON + hours(1)))
    world.set(NOON + hours(1))
    (won,) = await node.claim()
    await node.fail(won.attempt, "connection refused")
    assert "it failed: connection refused" in await explained(world, campaign_id, NOON + hours(1))


async def test_missed_while_paused(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1)))
    world.set(NOON + minutes(30))
    await world.control.pause(campaign_id, "ann")
    ahead = await explained(world, campaign_id, NOON + hours(1))
    assert ahead == "the campaign is paused: it will be missed unless it is started before"
    world.set(NOON + hours(1))
    await node.claim()
    said = await explained(world, campaign_id, NOON + hours(1))
    assert said.startswith("missed: paused since 2026-06-01T12:30:00Z by ann")


async def test_too_late(world: World, node: Node) -> None:
    campaign_id = await world.saved(once(NOON + hours(1)))
    world.set(NOON + hours(9))
    await node.claim()
    said = await explained(world, campaign_id, NOON + hours(1))
    assert said == "missed: too late; decided at 2026-06-01T21:00:00Z"


async def test_skipped_for_an_open_run(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1)))
    world.set(NOON + hours(1))
    await node.claim()
    world.after(days(1))
    await node.claim()
    said = await explained(world, campaign_id, NOON + hours(1) + days(1))
    assert said.startswith("skipped: a run is open")


async def test_one_of_many(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1)))
    world.set(NOON + days(113))
    await node.claim()
    said = await explained(world, campaign_id, NOON + hours(1) + days(50))
    assert said.startswith("missed: too late: one of 1"), said


async def test_no_node_claimed_it(world: World) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1)))
    at = NOON + hours(1)
    assert await explained(world, campaign_id, at) == "it is still ahead, and will run"
    world.set(NOON + hours(2))
    assert "no node is alive" in await explained(world, campaign_id, at, nodes=0)
    assert "due and not claimed yet" in await explained(world, campaign_id, at)


async def test_no_occurrence_then(world: World) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1)))
    world.set(NOON + days(3))
    said = await explained(world, campaign_id, NOON + days(2))
    assert said == (
        "the schedule has no occurrence at that instant; "
        "the previous one is at 2026-06-02T13:00:00Z, the next one is at 2026-06-03T13:00:00Z"
    )


async def test_never_started(world: World) -> None:
    campaign_id = await world.create()
    world.set(NOON + days(1))
    said = await explained(world, campaign_id, NOON + hours(1))
    assert said == "the campaign has no schedule"


async def test_changed_since(world: World) -> None:
    campaign_id = await world.saved(daily(NOON + hours(1)))
    world.set(NOON + minutes(90))
    await world.control.save_schedule(campaign_id, daily(NOON + hours(5)), "ben")
    said = await explained(world, campaign_id, NOON + hours(1) + minutes(5))
    assert "changed after it, at 2026-06-01T13:30:00Z by ben" in said
