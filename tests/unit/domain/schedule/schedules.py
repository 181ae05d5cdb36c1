"""Schedules from request bodies, and their events, for a test."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from daemon.domain.requests import BodyContext, PastStarts, read_schedule_body, read_update_body
from daemon.domain.requests.datetimes import resolve_datetime
from daemon.domain.schedule.daylight_saving import DaylightSaving
from daemon.domain.schedule.dtstart import Pattern, anchor_without_start, begin_after, begin_at
from daemon.domain.schedule.recurrence import Frequency
from daemon.domain.schedule.schedule import (
    CampaignType,
    EventKind,
    Kind,
    Schedule,
    ScheduleSource,
)
from daemon.domain.schedule.timezones import zone

ZONES = [
    "UTC", "America/New_York", "Australia/Lord_Howe", "America/Nuuk", "Africa/Casablanca",
    "Asia/Gaza",
    "Pacific/Apia", "Europe/Dublin", "America/Sao_Paulo", "America/St_Johns", "Asia/Kathmandu",
    "America/Asuncion", "Asia/Tehran", "Africa/Cairo", "Antarctica/Troll", "Pacific/Kiritimati",
]  # fmt: skip
OPEN, FIRE, CLOSE = EventKind.OPEN, EventKind.FIRE, EventKind.CLOSE


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


NOW = at("2000-01-01T00:00Z")


def saved(body: dict[str, Any], timezone: str = "UTC", now: datetime = NOW) -> Schedule:
    ctx = BodyContext(now, CampaignType.RECURRING, timezone)
    found = read_schedule_body(body, ctx).schedule
    assert found is not None
    return found


def recurring(timezone: str, scheduled_at: str, **config: Any) -> Schedule:
    return saved(
        {
            "schedule_type": "recurring",
            "scheduled_at": scheduled_at,
            "timezone": timezone,
            "recurring_config": {"frequency": "daily", **config},
        }
    )


def by_policy(
    timezone: str,
    policy: DaylightSaving | None,
    time: str,
    *,
    start: str | None = None,
    anchor_local: datetime | None = None,
    now: datetime = NOW,
    weekdays: tuple[int, ...] = (),
    frequency: Frequency = Frequency.DAILY,
) -> Schedule:
    """Return a recurrence with a policy: from a start as written, or else after `now`.

    One without a start is read again from its stored anchor.
    """
    pattern = Pattern(frequency, 1, at(f"2000-01-01T{time}").time(), weekdays)
    if start is None:
        if anchor_local is None:
            beginning = begin_after(pattern, timezone, now, policy)
        else:
            stored = resolve_datetime(anchor_local, zone(timezone), policy)
            beginning = begin_at(pattern, timezone, *stored, policy)
        assert beginning is not None
        anchor = anchor_without_start(beginning, timezone, policy)
    else:
        anchor = resolve_datetime(at(start), zone(timezone), policy)
        beginning = begin_at(pattern, timezone, *anchor, policy)
        assert beginning is not None
    source = ScheduleSource.SCHEDULE
    return Schedule(source, Kind.RECURRING, timezone, *anchor, beginning.rule, dst=policy)


def window(kind: CampaignType, now: datetime = NOW, **body: Any) -> Schedule:
    found = read_update_body(body, BodyContext(now, kind, past=PastStarts.ANY)).schedule
    assert found is not None
    return found


def chain(found: Schedule, count: int = 20) -> list[tuple[EventKind, str]]:
    """Return the kinds and instants of the first events in order."""
    events: list[tuple[EventKind, str]] = []
    event = found.first_event()
    while event is not None and len(events) < count:
        events.append((event.kind, text(event.at)))
        event = found.event_following(event)
    return events


def text(instant: datetime) -> str:
    assert instant.utcoffset() == timedelta(0)
    return instant.strftime("%Y-%m-%dT%H:%M")


def fires(found: Schedule, count: int) -> list[str]:
    return [instant for _, instant in chain(found, count)]
