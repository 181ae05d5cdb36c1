"""A claim that is sent before its instant waits for it, and an edit until then still wins."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from daemon.domain.errors import Refused
from daemon.domain.run.claim_plan import plan
from tests.support.builders import once_body
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase

EARLY = timedelta(milliseconds=40)
TRIES = 20

Edit = Callable[[TimedDatabase, int], Awaitable[object]]

EDITS: dict[str, Edit] = {
    "pause": lambda db, campaign: db.control.pause(campaign, "tester"),
    "stop": lambda db, campaign: db.control.stop(campaign, "tester"),
    "clear": lambda db, campaign: db.control.clear_schedule(campaign, "tester"),
    "another time": lambda db, campaign: db.control.save_schedule(
        campaign, once_body(datetime.now(UTC) + timedelta(hours=1)), "tester"
    ),
}


@pytest.fixture
async def node(db: TimedDatabase) -> DatabaseNode:
    """Return a node that lives now."""
    db.set_time(datetime.now(UTC))
    return await db.register_node()


async def due_in_a_moment(db: TimedDatabase) -> tuple[int, datetime]:
    """Store a campaign, wait until `EARLY` before its instant; return its id and the instant."""
    db.set_time(datetime.now(UTC))
    at = datetime.now(UTC) + timedelta(seconds=0.5)
    campaign_id = await db.add_scheduled(once_body(at))
    await asyncio.sleep((at - EARLY - datetime.now(UTC)).total_seconds())
    return campaign_id, at


@pytest.mark.parametrize("general", [False, True])
async def test_nothing_is_claimed_before_its_instant(
    db: TimedDatabase, node: DatabaseNode, general: bool
) -> None:
    """The claim takes place at the instant by the clock of the database."""
    campaign_id, at = await due_in_a_moment(db)
    request = plan(await db.armed_event_of(campaign_id), at)
    node.firing.now = None
    if general:
        (result,), _ = await node.firing.claim([request])
    else:
        (result,) = await node.firing.claim_plain([request])
    assert at <= result.claimed_at
    assert result.attempts[0].scheduled_for == at


@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
async def test_an_edit_until_the_instant_wins(
    db: TimedDatabase, node: DatabaseNode, edit: Edit, general: bool
) -> None:
    """The claim was sent before the edit, which committed before the instant."""
    for _ in range(TRIES):
        campaign_id, at = await due_in_a_moment(db)
        request = plan(await db.armed_event_of(campaign_id), at)
        node.firing.now = None
        claim = node.firing.claim if general else node.firing.claim_plain
        under_way = asyncio.ensure_future(claim([request]))
        await asyncio.sleep(0.002)
        with contextlib.suppress(Refused):
            await edit(db, campaign_id)
        (now,) = await db.rows("SELECT clock_timestamp() AS at")
        await under_way
        if now.at < at:  # else this machine was too slow, and the order is open
            break
    else:
        pytest.skip("the machine is too slow")
    assert (
        await db.rows(
            "SELECT 1 FROM runs WHERE status = 'executing' AND scheduled_for = :at", at=at
        )
        == []
    )
