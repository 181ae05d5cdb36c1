"""A campaign in every status, with and without an open run, a window, and occurrences to come.

Each one is reached by legal commands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from daemon.domain.run.outcome import Retry
from tests.support.database_world import Node, World, daily, days, hours, once

Build = Callable[[World, Node], Awaitable[int]]


async def claim(world: World, node: Node, campaign_id: int) -> None:
    """Claim the due event of a campaign."""
    assert await node.claim(await world.due(campaign_id)), "nothing was due"


async def ends(world: World, node: Node, campaign_id: int, completed: bool = True) -> None:
    """End the executing run of a campaign."""
    (work,) = await world.works(campaign_id)
    assert await (node.finish(work) if completed else node.fail(work))


async def begin_run(world: World, node: Node, campaign_id: int) -> None:
    """Start the run that an operator requested."""
    works, _ = await node.attempts(await world.waiting(campaign_id))
    assert works


def start_at(world: World) -> str:
    return (world.now + hours(1)).isoformat()


async def draft(world: World, node: Node) -> int:
    return await world.create()


async def draft_window(world: World, node: Node) -> int:
    return await world.create("segment_triggered")


async def draft_ahead(world: World, node: Node) -> int:
    campaign_id = await world.create()
    await world.control.update_schedule(campaign_id, {"startdate": start_at(world)}, "tester")
    return campaign_id


async def draft_begun(world: World, node: Node) -> int:
    campaign_id = await world.create("recurring")
    await world.control.update_schedule(campaign_id, {"startdate": start_at(world)}, "tester")
    world.after(hours(30))
    return campaign_id


async def draft_window_begun(world: World, node: Node) -> int:
    campaign_id = await world.create("event_triggered")
    await world.control.update_schedule(campaign_id, {"startdate": start_at(world)}, "tester")
    world.after(hours(30))
    return campaign_id


async def draft_over(world: World, node: Node) -> int:
    campaign_id = await draft_ahead(world, node)
    world.after(hours(2))
    return campaign_id


async def draft_window_over(world: World, node: Node) -> int:
    campaign_id = await world.create("live_content")
    body = {"startdate": start_at(world), "enddate": (world.now + hours(2)).isoformat()}
    await world.control.update_schedule(campaign_id, body, "tester")
    world.after(hours(2))
    return campaign_id


async def scheduled_once(world: World, node: Node) -> int:
    return await world.saved(once(world.now + hours(1)))


async def scheduled_daily(world: World, node: Node) -> int:
    return await world.saved(daily(world.now + hours(1)))


async def scheduled_last(world: World, node: Node) -> int:
    """Recurring, with only one occurrence."""
    at = world.now + hours(1)
    return await world.saved(daily(at, config={"end_date": at.date().isoformat()}))


def window_body(world: World, **more: object) -> dict[str, Any]:
    start, end = world.now + hours(1), world.now + hours(1) + days(3)
    return {"startdate": start.isoformat(), "enddate": end.isoformat(), **more}


async def scheduled_event_window(world: World, node: Node) -> int:
    return await world.started("event_triggered", window_body(world))


async def scheduled_segment(world: World, node: Node) -> int:
    return await world.started("segment_triggered", window_body(world))


async def launched_event_window(world: World, node: Node) -> int:
    campaign_id = await scheduled_event_window(world, node)
    world.after(hours(1))
    await claim(world, node, campaign_id)
    return campaign_id


async def launched_live_content(world: World, node: Node) -> int:
    campaign_id = await world.started("live_content", window_body(world))
    world.after(hours(1))
    await claim(world, node, campaign_id)
    return campaign_id


async def launched_segment(world: World, node: Node) -> int:
    """After its first run, which completed."""
    campaign_id = await executing_segment(world, node)
    await ends(world, node, campaign_id)
    return campaign_id


async def launched_segment_failed(world: World, node: Node) -> int:
    campaign_id = await executing_segment(world, node)
    await ends(world, node, campaign_id, completed=False)
    return campaign_id


async def executing_segment(world: World, node: Node) -> int:
    campaign_id = await scheduled_segment(world, node)
    world.after(hours(1))
    await claim(world, node, campaign_id)
    await claim(world, node, campaign_id)
    return campaign_id


async def launched_daily(world: World, node: Node) -> int:
    campaign_id = await executing_daily(world, node)
    await ends(world, node, campaign_id)
    return campaign_id


async def launched_daily_last(world: World, node: Node) -> int:
    """One occurrence to come, one that failed."""
    at = world.now + hours(1)
    body = daily(at, config={"end_date": (at + days(1)).date().isoformat()})
    campaign_id = await world.saved(body)
    world.after(hours(1))
    await claim(world, node, campaign_id)
    await ends(world, node, campaign_id, completed=False)
    return campaign_id


async def launched_daily_last_completed(world: World, node: Node) -> int:
    """One occurrence to come, one that completed."""
    campaign_id = await executing_daily_before_last(world, node)
    await ends(world, node, campaign_id)
    return campaign_id


async def executing_daily_before_last(world: World, node: Node) -> int:
    at = world.now + hours(1)
    body = daily(at, config={"end_date": (at + days(1)).date().isoformat()})
    campaign_id = await world.saved(body)
    world.after(hours(1))
    await claim(world, node, campaign_id)
    return campaign_id


async def executing_daily(world: World, node: Node, overlap: str = "skip") -> int:
    campaign_id = await world.saved(daily(world.now + hours(1), overlap=overlap))
    world.after(hours(1))
    await claim(world, node, campaign_id)
    return campaign_id


async def executing_daily_queue(world: World, node: Node) -> int:
    return await executing_daily(world, node, "queue")


async def executing_daily_allow(world: World, node: Node) -> int:
    return await executing_daily(world, node, "allow")


async def executing_two(world: World, node: Node) -> int:
    """Two runs at once."""
    campaign_id = await executing_daily_allow(world, node)
    world.after(days(1))
    await claim(world, node, campaign_id)
    return campaign_id


async def executing_once(world: World, node: Node) -> int:
    campaign_id = await scheduled_once(world, node)
    world.after(hours(1))
    await claim(world, node, campaign_id)
    return campaign_id


async def executing_by_hand(world: World, node: Node) -> int:
    """Started without a schedule; its attempt has not started."""
    campaign_id = await world.create()
    await world.control.start(campaign_id, "tester")
    return campaign_id


async def executing_retrying(world: World, node: Node) -> int:
    campaign_id = await executing_once(world, node)
    (work,) = await world.works(campaign_id)
    await node.finish(work, Retry("busy", 60))
    return campaign_id


async def paused_ahead(world: World, node: Node) -> int:
    campaign_id = await scheduled_daily(world, node)
    await world.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_begun(world: World, node: Node) -> int:
    campaign_id = await launched_daily(world, node)
    await world.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_busy(world: World, node: Node) -> int:
    campaign_id = await executing_daily(world, node)
    await world.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_busy_last(world: World, node: Node) -> int:
    campaign_id = await executing_once(world, node)
    await world.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_once(world: World, node: Node) -> int:
    campaign_id = await scheduled_once(world, node)
    await world.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_over(world: World, node: Node) -> int:
    """The only occurrence passed meanwhile."""
    campaign_id = await paused_once(world, node)
    world.after(hours(1))
    await claim(world, node, campaign_id)
    return campaign_id


async def paused_window_ahead(world: World, node: Node) -> int:
    campaign_id = await scheduled_event_window(world, node)
    await world.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_window_open(world: World, node: Node) -> int:
    campaign_id = await launched_event_window(world, node)
    await world.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_segment(world: World, node: Node) -> int:
    """Its first run failed."""
    campaign_id = await launched_segment_failed(world, node)
    await world.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_segment_busy(world: World, node: Node) -> int:
    campaign_id = await executing_segment(world, node)
    await world.control.pause(campaign_id, "tester")
    return campaign_id


async def completed(world: World, node: Node) -> int:
    campaign_id = await executing_once(world, node)
    await ends(world, node, campaign_id)
    return campaign_id


async def completed_by_hand(world: World, node: Node) -> int:
    campaign_id = await executing_by_hand(world, node)
    await begin_run(world, node, campaign_id)
    await ends(world, node, campaign_id)
    return campaign_id


async def completed_window(world: World, node: Node) -> int:
    campaign_id = await launched_event_window(world, node)
    world.after(days(3))
    await claim(world, node, campaign_id)
    return campaign_id


async def failed(world: World, node: Node) -> int:
    campaign_id = await executing_once(world, node)
    await ends(world, node, campaign_id, completed=False)
    return campaign_id


async def failed_missed(world: World, node: Node) -> int:
    campaign_id = await scheduled_once(world, node)
    world.after(hours(3))
    await claim(world, node, campaign_id)
    return campaign_id


async def cancelled(world: World, node: Node) -> int:
    campaign_id = await scheduled_daily(world, node)
    await world.control.stop(campaign_id, "tester")
    return campaign_id


async def cancelled_busy(world: World, node: Node) -> int:
    campaign_id = await executing_daily(world, node)
    await world.control.stop(campaign_id, "tester")
    return campaign_id


async def _archived(world: World, campaign_id: int) -> int:
    await world.control.archive(campaign_id, "tester")
    return campaign_id


async def archived_draft(world: World, node: Node) -> int:
    return await _archived(world, await draft(world, node))


async def archived_completed(world: World, node: Node) -> int:
    return await _archived(world, await completed(world, node))


async def archived_failed(world: World, node: Node) -> int:
    return await _archived(world, await failed(world, node))


async def archived_cancelled(world: World, node: Node) -> int:
    return await _archived(world, await cancelled(world, node))
