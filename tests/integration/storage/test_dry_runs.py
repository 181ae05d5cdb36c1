"""Dry runs over a real database: what a save, a clearing or a start would change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from daemon.campaign_service import ScheduleCommand
from daemon.domain.campaign.dry_run import DryRun
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import InvalidInput, PreconditionFailed, Refused
from tests.support.builders import once_body
from tests.support.clocks import NOON, days, hours
from tests.support.timed_database import TimedDatabase

PARIS = "Europe/Paris"
Instants = list[tuple[int, int]]


def recurring(frequency: str, time: str, zone: str = PARIS, **config: Any) -> dict[str, Any]:
    config = {"frequency": frequency, "time": time, "time_zone": zone, **config}
    return {"schedule_type": "recurring", "timezone": zone, "recurring_config": config}


async def compared(
    db: TimedDatabase,
    body: dict[str, Any],
    new: dict[str, Any] | None,
    length: int,
    command: ScheduleCommand = "save",
) -> DryRun:
    """Save a body, and return what the other one would change within some days."""
    campaign_id = await db.add_scheduled(body, kind="recurring")
    before = await db.dump_rows(campaign_id)
    found = await db.control.dry_run(campaign_id, command, new, days=length)
    assert await db.dump_rows(campaign_id) == before, "F.14: nothing is written"
    return found


def moves(done: DryRun) -> list[tuple[str, str]]:
    return [(text(pair.was.scheduled_for), text(pair.now.scheduled_for))
            for pair in done.comparison.moves]  # fmt: skip


def text(at: datetime) -> str:
    return at.strftime("%d %H:%M")


def counts(done: DryRun) -> tuple[int, ...]:
    """Return same, changes, moves, appears and vanishes."""
    return tuple(done.comparison.summary.values())


async def test_f1_other_weekdays(db: TimedDatabase) -> None:
    old, new = (recurring("weekly", "09:00", days_of_week=each) for each in ([1, 3], [3, 5]))
    done = await compared(db, old, new, 14)
    assert counts(done) == (2, 0, 0, 2, 2)
    assert [text(each.scheduled_for) for each in done.comparison.vanishes] == [
        "08 07:00",
        "15 07:00",
    ]
    assert [text(each.scheduled_for) for each in done.comparison.appears] == [
        "05 07:00",
        "12 07:00",
    ]
    assert (done.armed, done.status, done.since, done.until) == (
        True,
        Status.SCHEDULED,
        NOON,
        NOON + days(14),
    )


async def test_f2_another_time(db: TimedDatabase) -> None:
    done = await compared(db, recurring("daily", "09:00"), recurring("daily", "10:30"), 2)
    assert moves(done) == [("02 07:00", "02 08:30"), ("03 07:00", "03 08:30")]
    assert counts(done) == (0, 0, 2, 0, 0)


async def test_f3_another_zone(db: TimedDatabase) -> None:
    old = recurring("daily", "09:00", "America/New_York")
    db.set_time(NOON + hours(2))
    done = await compared(db, old, recurring("daily", "09:00", "America/Los_Angeles"), 3)
    assert moves(done) == [("02 13:00", "02 16:00"), ("03 13:00", "03 16:00")]


async def test_f4_over_a_clock_change(db: TimedDatabase) -> None:
    db.set_time(datetime(2026, 10, 23, 12, tzinfo=NOON.tzinfo))
    done = await compared(db, recurring("daily", "09:00"), recurring("daily", "09:00", "UTC"), 3)
    assert moves(done) == [
        ("24 07:00", "24 09:00"),
        ("25 08:00", "25 09:00"),
        ("26 08:00", "26 09:00"),
    ]


async def test_f5_another_date_is_no_move(db: TimedDatabase) -> None:
    old, new = (recurring("weekly", "09:00", days_of_week=[each]) for each in (1, 2))
    done = await compared(db, old, new, 14)
    assert counts(done) == (0, 0, 0, 2, 2)


async def test_f8_a_body_that_a_save_refuses(db: TimedDatabase) -> None:
    with pytest.raises(InvalidInput) as refused:
        await compared(db, recurring("daily", "09:00"), recurring("daily", "09:00", interval=0), 7)
    assert refused.value.status == 400


async def test_f9_a_stale_revision(db: TimedDatabase) -> None:
    campaign_id = await db.add_scheduled(recurring("daily", "09:00"), kind="recurring")
    with pytest.raises(PreconditionFailed):
        await db.control.dry_run(campaign_id, "clear", days=7, expect=lambda revision: False)


async def test_f10_an_archived_campaign(db: TimedDatabase) -> None:
    campaign_id = await db.add_scheduled(recurring("daily", "09:00"), kind="recurring")
    await db.control.stop(campaign_id, "ann")
    await db.control.archive(campaign_id, "ann")
    with pytest.raises(Refused) as refused:
        await db.control.dry_run(campaign_id, "save", recurring("daily", "10:00"), days=7)
    assert refused.value.status == 400


async def test_f11_immediate_lets_all_vanish(db: TimedDatabase) -> None:
    done = await compared(db, recurring("daily", "09:00"), {"schedule_type": "immediate"}, 7)
    assert counts(done) == (0, 0, 0, 0, 7)
    assert (done.status, done.armed) == (Status.DRAFT, False)
    done = await compared(db, recurring("daily", "09:00"), None, 7, "clear")
    assert counts(done) == (0, 0, 0, 0, 7)


async def test_f13_months_without_the_day(db: TimedDatabase) -> None:
    db.set_time(datetime(2026, 1, 15, 12, tzinfo=NOON.tzinfo))
    old, new = (
        recurring("monthly", "09:00", "UTC", day_of_month=31, skip=each)
        for each in ("backward", "omit")
    )
    done = await compared(db, old, new, 120)
    assert [each.local.date().isoformat() for each in done.comparison.vanishes] == [
        "2026-02-28",
        "2026-04-30",
    ]
    assert counts(done)[:4] == (2, 0, 0, 0)


async def test_an_update_of_a_draft_is_compared_as_if_started(db: TimedDatabase) -> None:
    campaign_id = await db.add_draft()
    await db.control.update_schedule(
        campaign_id, {"startdate": (NOON + hours(2)).isoformat()}, "ann"
    )
    body = {"startdate": (NOON + hours(3)).isoformat()}
    done = await db.control.dry_run(campaign_id, "update", body, days=7)
    assert (counts(done), done.armed) == ((0, 0, 1, 0, 0), False)


async def test_a_start_lets_all_of_a_draft_appear(db: TimedDatabase) -> None:
    campaign_id = await db.add_draft()
    await db.control.update_schedule(
        campaign_id, {"startdate": (NOON + hours(2)).isoformat()}, "ann"
    )
    done = await db.control.dry_run(campaign_id, "start", days=7)
    assert (counts(done), done.armed, done.status) == ((0, 0, 0, 1, 0), True, Status.SCHEDULED)


async def test_a_live_campaign_that_is_started_stays_the_same(db: TimedDatabase) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    done = await db.control.dry_run(campaign_id, "start", days=7)
    assert counts(done) == (1, 0, 0, 0, 0)
