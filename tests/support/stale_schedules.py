"""Schedules stored under older time-zone data, and their refresh."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage.tzdata_refresh import TzdataRefresh
from tests.support.capture import CapturedEvents
from tests.support.timed_database import TimedDatabase, request_text

START = "2026-06-10T09:30:00"
BERLIN = "Europe/Berlin"
FIRST = datetime(2026, 6, 10, 7, 30, tzinfo=UTC)


async def refresh_all(db: TimedDatabase, captured: CapturedEvents) -> int:
    """Refresh every schedule; return the number of moved instants."""
    before = len(captured.named("instants_moved"))
    await TzdataRefresh(db.database, captured).refresh()
    return len(captured.named("instants_moved")) - before


async def store_recurring(db: TimedDatabase) -> int:
    return await db.add_started("recurring", {"startdate": START, "timezone": BERLIN})


async def store_one_off(db: TimedDatabase) -> int:
    body = {"schedule_type": "scheduled", "scheduled_at": START, "timezone": BERLIN}
    return await db.add_scheduled(body)


async def store_anchorless(db: TimedDatabase) -> int:
    config = {"frequency": "weekly", "days_of_week": [3], "time": "09:30", "time_zone": BERLIN}
    return await db.add_scheduled({"schedule_type": "recurring", "recurring_config": config})


async def store_opening(db: TimedDatabase) -> int:
    body = {"startdate": START, "timezone": BERLIN, "enddate": "2026-06-20T09:30:00"}
    return await db.add_started("event_triggered", body)


async def store_with_offsets(db: TimedDatabase) -> int:
    return await db.add_scheduled(
        {"schedule_type": "scheduled", "scheduled_at": request_text(FIRST), "timezone": BERLIN}
    )


HOUR = timedelta(hours=1)


async def make_stale(db: TimedDatabase, shift: timedelta = HOUR) -> None:
    """Pretend that the zones had other offsets when the schedules were stored."""
    await db.rows(
        "UPDATE schedule_definitions SET tzdata = '2000a', anchor_at = anchor_at + :shift,"
        " ends_at = ends_at + :shift",
        shift=shift,
    )
    await db.rows("UPDATE timers SET fire_at = fire_at + :shift", shift=shift)
