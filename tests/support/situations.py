"""A campaign in every status, with and without an open run, a window, and occurrences to come.

Each one is reached by legal commands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from daemon.domain.run.outcome import Retry
from tests.support.builders import daily_body, once_body
from tests.support.clocks import days, hours
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase

Build = Callable[[TimedDatabase, DatabaseNode], Awaitable[int]]


async def claim(db: TimedDatabase, node: DatabaseNode, campaign_id: int) -> None:
    """Claim the due event of a campaign."""
    assert await node.claim(await db.due_events(campaign_id)), "nothing was due"


async def end_run(
    db: TimedDatabase, node: DatabaseNode, campaign_id: int, completed: bool = True
) -> None:
    """End the executing run of a campaign."""
    (work,) = await db.executing_attempts(campaign_id)
    assert await (node.finish(work) if completed else node.fail(work))


async def begin_run(db: TimedDatabase, node: DatabaseNode, campaign_id: int) -> None:
    """Start the run that an operator requested."""
    works, _ = await node.claim_attempts(await db.due_pending_runs(campaign_id))
    assert works


def _text_of_hour_ahead(db: TimedDatabase) -> str:
    return (db.now + hours(1)).isoformat()


async def draft(db: TimedDatabase, node: DatabaseNode) -> int:
    return await db.add_draft()


async def draft_window(db: TimedDatabase, node: DatabaseNode) -> int:
    return await db.add_draft("segment_triggered")


async def draft_ahead(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await db.add_draft()
    await db.control.update_schedule(campaign_id, {"startdate": _text_of_hour_ahead(db)}, "tester")
    return campaign_id


async def draft_begun(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await db.add_draft("recurring")
    await db.control.update_schedule(campaign_id, {"startdate": _text_of_hour_ahead(db)}, "tester")
    db.advance(hours(30))
    return campaign_id


async def draft_window_begun(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await db.add_draft("event_triggered")
    await db.control.update_schedule(campaign_id, {"startdate": _text_of_hour_ahead(db)}, "tester")
    db.advance(hours(30))
    return campaign_id


async def draft_over(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await draft_ahead(db, node)
    db.advance(hours(2))
    return campaign_id


async def draft_window_over(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await db.add_draft("live_content")
    body = {"startdate": _text_of_hour_ahead(db), "enddate": (db.now + hours(2)).isoformat()}
    await db.control.update_schedule(campaign_id, body, "tester")
    db.advance(hours(2))
    return campaign_id


async def scheduled_once(db: TimedDatabase, node: DatabaseNode) -> int:
    return await db.add_scheduled(once_body(db.now + hours(1)))


async def scheduled_daily(db: TimedDatabase, node: DatabaseNode) -> int:
    return await db.add_scheduled(daily_body(db.now + hours(1)))


async def scheduled_last(db: TimedDatabase, node: DatabaseNode) -> int:
    """Recurring, with only one occurrence."""
    at = db.now + hours(1)
    return await db.add_scheduled(daily_body(at, config={"end_date": at.date().isoformat()}))


def window_body(db: TimedDatabase, **more: object) -> dict[str, Any]:
    start, end = db.now + hours(1), db.now + hours(1) + days(3)
    return {"startdate": start.isoformat(), "enddate": end.isoformat(), **more}


async def scheduled_event_window(db: TimedDatabase, node: DatabaseNode) -> int:
    return await db.add_started("event_triggered", window_body(db))


async def scheduled_segment(db: TimedDatabase, node: DatabaseNode) -> int:
    return await db.add_started("segment_triggered", window_body(db))


async def launched_event_window(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await scheduled_event_window(db, node)
    db.advance(hours(1))
    await claim(db, node, campaign_id)
    return campaign_id


async def launched_live_content(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await db.add_started("live_content", window_body(db))
    db.advance(hours(1))
    await claim(db, node, campaign_id)
    return campaign_id


async def launched_segment(db: TimedDatabase, node: DatabaseNode) -> int:
    """After its first run, which completed."""
    campaign_id = await executing_segment(db, node)
    await end_run(db, node, campaign_id)
    return campaign_id


async def launched_segment_failed(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await executing_segment(db, node)
    await end_run(db, node, campaign_id, completed=False)
    return campaign_id


async def executing_segment(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await scheduled_segment(db, node)
    db.advance(hours(1))
    await claim(db, node, campaign_id)
    await claim(db, node, campaign_id)
    return campaign_id


async def launched_daily(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await executing_daily(db, node)
    await end_run(db, node, campaign_id)
    return campaign_id


async def launched_daily_last(db: TimedDatabase, node: DatabaseNode) -> int:
    """One occurrence to come, one that failed."""
    at = db.now + hours(1)
    body = daily_body(at, config={"end_date": (at + days(1)).date().isoformat()})
    campaign_id = await db.add_scheduled(body)
    db.advance(hours(1))
    await claim(db, node, campaign_id)
    await end_run(db, node, campaign_id, completed=False)
    return campaign_id


async def launched_daily_last_completed(db: TimedDatabase, node: DatabaseNode) -> int:
    """One occurrence to come, one that completed."""
    campaign_id = await executing_daily_before_last(db, node)
    await end_run(db, node, campaign_id)
    return campaign_id


async def executing_daily_before_last(db: TimedDatabase, node: DatabaseNode) -> int:
    at = db.now + hours(1)
    body = daily_body(at, config={"end_date": (at + days(1)).date().isoformat()})
    campaign_id = await db.add_scheduled(body)
    db.advance(hours(1))
    await claim(db, node, campaign_id)
    return campaign_id


async def executing_daily(db: TimedDatabase, node: DatabaseNode, overlap: str = "skip") -> int:
    campaign_id = await db.add_scheduled(daily_body(db.now + hours(1), overlap=overlap))
    db.advance(hours(1))
    await claim(db, node, campaign_id)
    return campaign_id


async def executing_daily_queue(db: TimedDatabase, node: DatabaseNode) -> int:
    return await executing_daily(db, node, "queue")


async def executing_daily_allow(db: TimedDatabase, node: DatabaseNode) -> int:
    return await executing_daily(db, node, "allow")


async def executing_two(db: TimedDatabase, node: DatabaseNode) -> int:
    """Two runs at once."""
    campaign_id = await executing_daily_allow(db, node)
    db.advance(days(1))
    await claim(db, node, campaign_id)
    return campaign_id


async def executing_once(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await scheduled_once(db, node)
    db.advance(hours(1))
    await claim(db, node, campaign_id)
    return campaign_id


async def executing_by_hand(db: TimedDatabase, node: DatabaseNode) -> int:
    """Started without a schedule; its attempt has not started."""
    campaign_id = await db.add_draft()
    await db.control.start(campaign_id, "tester")
    return campaign_id


async def executing_retrying(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await executing_once(db, node)
    (work,) = await db.executing_attempts(campaign_id)
    await node.finish(work, Retry("busy", 60))
    return campaign_id


async def paused_ahead(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await scheduled_daily(db, node)
    await db.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_begun(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await launched_daily(db, node)
    await db.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_busy(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await executing_daily(db, node)
    await db.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_busy_last(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await executing_once(db, node)
    await db.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_once(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await scheduled_once(db, node)
    await db.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_over(db: TimedDatabase, node: DatabaseNode) -> int:
    """The only occurrence passed meanwhile."""
    campaign_id = await paused_once(db, node)
    db.advance(hours(1))
    await claim(db, node, campaign_id)
    return campaign_id


async def paused_window_ahead(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await scheduled_event_window(db, node)
    await db.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_window_open(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await launched_event_window(db, node)
    await db.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_segment(db: TimedDatabase, node: DatabaseNode) -> int:
    """Its first run failed."""
    campaign_id = await launched_segment_failed(db, node)
    await db.control.pause(campaign_id, "tester")
    return campaign_id


async def paused_segment_busy(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await executing_segment(db, node)
    await db.control.pause(campaign_id, "tester")
    return campaign_id


async def completed(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await executing_once(db, node)
    await end_run(db, node, campaign_id)
    return campaign_id


async def completed_by_hand(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await executing_by_hand(db, node)
    await begin_run(db, node, campaign_id)
    await end_run(db, node, campaign_id)
    return campaign_id


async def completed_window(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await launched_event_window(db, node)
    db.advance(days(3))
    await claim(db, node, campaign_id)
    return campaign_id


async def failed(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await executing_once(db, node)
    await end_run(db, node, campaign_id, completed=False)
    return campaign_id


async def failed_missed(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await scheduled_once(db, node)
    db.advance(hours(3))
    await claim(db, node, campaign_id)
    return campaign_id


async def cancelled(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await scheduled_daily(db, node)
    await db.control.stop(campaign_id, "tester")
    return campaign_id


async def cancelled_busy(db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id = await executing_daily(db, node)
    await db.control.stop(campaign_id, "tester")
    return campaign_id


async def _archived(db: TimedDatabase, campaign_id: int) -> int:
    await db.control.archive(campaign_id, "tester")
    return campaign_id


async def archived_draft(db: TimedDatabase, node: DatabaseNode) -> int:
    return await _archived(db, await draft(db, node))


async def archived_completed(db: TimedDatabase, node: DatabaseNode) -> int:
    return await _archived(db, await completed(db, node))


async def archived_failed(db: TimedDatabase, node: DatabaseNode) -> int:
    return await _archived(db, await failed(db, node))


async def archived_cancelled(db: TimedDatabase, node: DatabaseNode) -> int:
    return await _archived(db, await cancelled(db, node))
