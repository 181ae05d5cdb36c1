"""The fields that a schedule has beside its body when it is read. They are read-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from daemon.domain.campaign.model import Snapshot
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import InvalidInput
from daemon.domain.formatting import utc_text
from daemon.domain.requests.fields import shown_value
from daemon.domain.schedule.rrule import rrule_text
from daemon.domain.schedule.schedule import EventKind, Schedule, TimedEvent
from daemon.domain.schedule.timezones import local_time
from daemon.domain.schedule.words import schedule_in_words

READ_ONLY = frozenset(
    {
        "campaign_id",
        "campaign_uuid",
        "status",
        "source",
        "next_run_at",
        "next_run_local",
        "due_at",
        "rrule",
        "summary",
        "revision",
        "saved_at",
    }
)


def next_run_at(
    schedule: Schedule | None, timer: TimedEvent | None, status: Status
) -> datetime | None:
    """Return the instant of the next run; None when no run is armed or the campaign is paused."""
    if timer is None or schedule is None or status is Status.PAUSED:
        return None
    if timer.kind is EventKind.OPEN:
        timer = schedule.event_following(timer)
    return timer.at if timer is not None and timer.kind is EventKind.FIRE else None


def next_run_fields(next_at: datetime | None, timezone: str) -> dict[str, Any]:
    """Return an instant as UTC text, and as the wall-clock time that clocks show in the zone."""
    local = None if next_at is None else local_time(next_at, timezone)
    return {
        "next_run_at": None if next_at is None else utc_text(next_at),
        "next_run_local": None if local is None else local.isoformat(),
    }


def read_only_fields(snapshot: Snapshot) -> dict[str, Any]:
    """Return the read-only fields, as JSON has them; their names are those of READ_ONLY."""
    campaign, current, saved_at = snapshot.campaign, snapshot.current, snapshot.saved_at
    schedule = None if current is None else current.schedule
    return {
        "campaign_id": campaign.id,
        "campaign_uuid": str(campaign.uuid),
        "status": campaign.status,
        "source": None if current is None else current.source,
        **next_run_fields(
            next_run_at(schedule, snapshot.timer, campaign.status), timezone_in_force(snapshot)
        ),
        "due_at": due_at_text(snapshot),
        "rrule": None if schedule is None else rrule_text(schedule),
        "summary": None if schedule is None else schedule_in_words(schedule),
        "revision": snapshot.revision,
        "saved_at": None if saved_at is None else utc_text(saved_at),
    }


def due_at_text(snapshot: Snapshot) -> str | None:
    """Return when the next run is due, where that is later than its own time."""
    is_shown = snapshot.due_at is not None and snapshot.campaign.status is not Status.PAUSED
    return utc_text(snapshot.due_at) if snapshot.due_at is not None and is_shown else None


def timezone_in_force(snapshot: Snapshot) -> str:
    """Return the zone of the schedule; without a schedule that of the campaign."""
    current = snapshot.current
    return snapshot.campaign.timezone if current is None else current.schedule.timezone


def without_read_only_fields(body: object, snapshot: Snapshot, message: str) -> object:
    """Return a body without the read-only fields, which it may have as they were read.

    Raises:
        InvalidInput: 400 with `message`, when a read-only field has another value.
    """
    if not isinstance(body, dict) or READ_ONLY.isdisjoint(body):
        return body
    actual = read_only_fields(snapshot)
    errors = {
        name: [f"is {shown_value(body[name])}, but is read-only and is {shown_value(actual[name])}"]
        for name in actual
        if body.get(name) is not None and body[name] != actual[name]
    }
    if errors:
        names = ", ".join(errors)
        detail = f"{names}: read-only, with another value; omit them or read the schedule again"
        raise InvalidInput(400, message, detail, errors)
    return {name: value for name, value in body.items() if name not in READ_ONLY}
