"""Entries for the timer's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from daemon.domain.requests import Context, Past, save_schedule
from daemon.domain.run.attempt import ArmedEvent, PendingRun
from daemon.domain.schedule.schedule import CampaignType, EventKind, Schedule, TimedEvent

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def daily(at: datetime = AT, zone: str = "UTC", **config: object) -> Schedule:
    body = {
        "schedule_type": "recurring",
        "scheduled_at": at.isoformat(),
        "timezone": zone,
        "recurring_config": {"frequency": "daily", **config},
    }
    ctx = Context(at, CampaignType.RECURRING, past=Past.ANY)
    schedule = save_schedule(body, ctx).schedule
    assert schedule is not None
    return schedule


def armed(number: int, at: datetime = AT, revision: int = 1) -> ArmedEvent:
    schedule = daily(at)
    event = TimedEvent(EventKind.FIRE, at, at.replace(tzinfo=None))
    return ArmedEvent(number, UUID(int=number), revision, event, schedule, "log")


def unplannable(number: int, at: datetime = AT) -> ArmedEvent:
    """As one saved by a node that knows a zone which this one does not."""
    entry = armed(number, at)
    return entry._replace(schedule=entry.schedule._replace(timezone="Mars/Olympus_Mons"))


def waiting(number: int, at: datetime = AT, scheduled_for: datetime = AT) -> PendingRun:
    return PendingRun(number, scheduled_for, at, "log")
