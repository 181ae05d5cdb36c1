"""Changes of `campaignd import --update` beside the schedule reach the events that a node holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from storage.notifications import Notifications
from tests.support.builders import once_body
from tests.support.clocks import NOON, hours
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase

AT = NOON + hours(1)
PATIENCE_S = 60


async def amend(db: TimedDatabase, campaign_id: int, **values: Any) -> Any:
    async with db.store.edit(campaign_id) as edit:
        await edit.amend_fields(values, "tester")
    return edit


async def test_a_changed_target_is_loaded_again(db: TimedDatabase, node: DatabaseNode) -> None:
    """A node may hold the timer for the former target, and wait for capacity there."""
    campaign_id = await db.add_scheduled(once_body(AT), target="former")
    former = await db.armed_event_of(campaign_id)
    xmin = (await db.timers.poll("0", NOON, NOON, 10)).xmin

    edit = await amend(db, campaign_id, target="other")
    look = await db.timers.poll(xmin, NOON, NOON, 10)
    assert look.campaign_ids == [campaign_id], "for those who were not notified"
    armed = await db.armed_event_of(campaign_id)
    assert (armed.target, armed.event) == ("other", former.event)
    assert armed.revision == edit.revision > former.revision
    await db.check_invariants(campaign_id)

    db.set_time(AT)
    assert await node.claim([former]) == [], "it waits for the former target's room no longer"
    (won,) = await node.claim([armed])
    assert won.target == "other"


async def test_the_nodes_are_notified(db: TimedDatabase, database_url: str) -> None:
    campaign_id = await db.add_scheduled(once_body(AT), target="former")
    notices = Notifications(database_url).listen()
    async with asyncio.timeout(PATIENCE_S):
        assert await anext(notices) is None, "it listens"
        await amend(db, campaign_id, target="other")
        assert await anext(notices) == [campaign_id]
    await notices.aclose()


async def test_a_campaign_without_a_schedule(db: TimedDatabase) -> None:
    campaign_id = await db.add_draft(target="former")
    edit = await amend(db, campaign_id, target="other")
    assert edit.revision is None
    assert (await db.read_campaign(campaign_id)).target == "other"
    await db.check_invariants(campaign_id)


@pytest.mark.parametrize("values", [{"name": "b"}, {"payload": {"n": 1}}, {"target": "log"}])
async def test_fields_read_at_the_claim_do_not_change_the_schedule(
    db: TimedDatabase, values: dict[str, Any]
) -> None:
    campaign_id = await db.add_scheduled(once_body(AT))
    before = await db.armed_event_of(campaign_id)
    edit = await amend(db, campaign_id, **values)
    assert await db.armed_event_of(campaign_id) == before
    assert edit.revision == before.revision
