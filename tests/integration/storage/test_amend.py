"""Changes of `campaignd import --update` beside the schedule reach the events that a node holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from storage.notifications import Notifications
from tests.support.database_world import NOON, Node, World, hours, once

AT = NOON + hours(1)
PATIENCE_S = 60


async def amend(world: World, campaign_id: int, **values: Any) -> Any:
    async with world.store.edit(campaign_id) as edit:
        await edit.amend(values, "tester")
    return edit


async def test_a_changed_target_is_loaded_again(world: World, node: Node) -> None:
    """A node may hold the timer for the former target, and wait for capacity there."""
    campaign_id = await world.saved(once(AT), target="former")
    former = await world.armed(campaign_id)
    xmin = (await world.timers.poll("0", NOON, NOON, 10)).xmin

    edit = await amend(world, campaign_id, target="other")
    look = await world.timers.poll(xmin, NOON, NOON, 10)
    assert look.campaign_ids == [campaign_id], "for those who were not notified"
    armed = await world.armed(campaign_id)
    assert (armed.target, armed.event) == ("other", former.event)
    assert armed.revision == edit.revision > former.revision
    await world.check(campaign_id)

    world.set(AT)
    assert await node.claim([former]) == [], "it waits for the former target's room no longer"
    (won,) = await node.claim([armed])
    assert won.target == "other"


async def test_the_nodes_are_notified(world: World, database_url: str) -> None:
    campaign_id = await world.saved(once(AT), target="former")
    notices = Notifications(database_url).listen()
    async with asyncio.timeout(PATIENCE_S):
        assert await anext(notices) is None, "it listens"
        await amend(world, campaign_id, target="other")
        assert await anext(notices) == [campaign_id]
    await notices.aclose()


async def test_a_campaign_without_a_schedule(world: World) -> None:
    campaign_id = await world.create(target="former")
    edit = await amend(world, campaign_id, target="other")
    assert edit.revision is None
    assert (await world.campaign(campaign_id)).target == "other"
    await world.check(campaign_id)


@pytest.mark.parametrize("values", [{"name": "b"}, {"payload": {"n": 1}}, {"target": "log"}])
async def test_fields_read_at_the_claim_do_not_change_the_schedule(
    world: World, values: dict[str, Any]
) -> None:
    campaign_id = await world.saved(once(AT))
    before = await world.armed(campaign_id)
    edit = await amend(world, campaign_id, **values)
    assert await world.armed(campaign_id) == before
    assert edit.revision == before.revision
