"""Schedules, events and attempts, made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from daemon.domain.campaign.model import run_id
from daemon.domain.requests import BodyContext, PastStarts, read_schedule_body
from daemon.domain.run.attempt import ArmedEvent, Attempt, PendingRun
from daemon.domain.schedule.schedule import CampaignType, EventKind, Schedule, TimedEvent
from tests.support.clocks import NOON

CAMPAIGN = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


def once_body(at: datetime, **extras: Any) -> dict[str, Any]:
    """Return the request body of a schedule with one occurrence."""
    return {"schedule_type": "scheduled", "scheduled_at": at.isoformat(), **extras}


def daily_body(at: datetime | None, **extras: Any) -> dict[str, Any]:
    """Return the request body of a daily schedule; ``config`` adds to its recurring_config."""
    config = {"frequency": "daily", **extras.pop("config", {})}
    body = {"schedule_type": "recurring", "recurring_config": config, **extras}
    return body if at is None else {**body, "scheduled_at": at.isoformat()}


def daily_schedule(at: datetime = NOON, zone: str = "UTC", **config: object) -> Schedule:
    """Return a daily schedule, saved at the instant of its first occurrence."""
    context = BodyContext(at, CampaignType.RECURRING, past=PastStarts.ANY)
    schedule = read_schedule_body(daily_body(at, config=config, timezone=zone), context).schedule
    assert schedule is not None
    return schedule


def once_schedule(at: datetime = NOON) -> Schedule:
    """Return a schedule with one occurrence, saved a day before it."""
    context = BodyContext(at - timedelta(days=1), CampaignType.ONE_TIME)
    schedule = read_schedule_body(once_body(at), context).schedule
    assert schedule is not None
    return schedule


def armed_event(
    number: int,
    at: datetime = NOON,
    *,
    revision: int = 1,
    target: str = "log",
    kind: EventKind = EventKind.FIRE,
    schedule: Schedule | None = None,
) -> ArmedEvent:
    """Return the next event of campaign ``number``, by default of a daily schedule."""
    event = TimedEvent(kind, at, at.replace(tzinfo=None))
    schedule = daily_schedule(at) if schedule is None else schedule
    return ArmedEvent(number, UUID(int=number), revision, event, schedule, target, event.at)


def armed_once(number: int, target: str = "log", kind: EventKind = EventKind.FIRE) -> ArmedEvent:
    """Return the only event of campaign ``number``, due at noon."""
    return armed_event(number, target=target, kind=kind, schedule=once_schedule())


def armed_in_unknown_zone(number: int, at: datetime = NOON) -> ArmedEvent:
    """Return an event that a node saved which knows more zones than this one."""
    event = armed_event(number, at)
    return event._replace(schedule=event.schedule._replace(timezone="Mars/Olympus_Mons"))


def pending_run(
    number: int, at: datetime = NOON, *, scheduled_for: datetime = NOON, target: str = "log"
) -> PendingRun:
    """Return a run of campaign ``number`` whose next attempt is due at an instant."""
    return PendingRun(number, scheduled_for, at, target)


def new_attempt(second: int = 0, **changes: Any) -> Attempt:
    """Return an attempt of the campaign's run that is due ``second`` seconds after noon."""
    at = NOON + timedelta(seconds=second)
    made = Attempt(
        campaign_id=7,
        campaign_uuid=CAMPAIGN,
        campaign_name="Sommer 🌞",
        run_id=run_id(CAMPAIGN, at),
        scheduled_for=at,
        number=1,
        target="crm",
        payload={"segment": 12, "text": "Grüße"},
        claimed_at=at,
        start_before=datetime(2100, 1, 1, tzinfo=UTC),
    )
    return made._replace(**changes)
