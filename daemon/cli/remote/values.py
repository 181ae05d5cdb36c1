"""JSON of the HTTP API as the values that the commands show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from daemon.domain.campaign.model import Campaign, LoggedEvent, Run
from daemon.domain.campaign.schedule_fields import READ_ONLY
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.read_models import (
    CampaignSummary,
    NodeState,
    RunDetail,
    UpcomingEvent,
)
from daemon.domain.requests import (
    BodyContext,
    CurrentSchedule,
    PastStarts,
    is_schedule_body,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.schedule.schedule import CampaignType, EventKind, ScheduleSource

Json = Mapping[str, Any]
_start_of = re.compile(r"DTSTART(?:;TZID=[^:]+)?:(\d{8}T\d{6})Z?").match
_interval_of = re.compile(r"RRULE:FREQ=SECONDLY;INTERVAL=(\d+)").search


def instant(text: str | None) -> datetime | None:
    """Return an instant; None stays None."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def instant_of(item: Json, name: str) -> datetime:
    """Return an instant that is always there."""
    return datetime.fromisoformat(item[name]).astimezone(UTC)


def campaign_of(item: Json) -> Campaign:
    """Return a campaign; what the API does not say of it has its default."""
    return Campaign(
        id=item["id"],
        uuid=UUID(item["uuid"]),
        name=item["name"],
        type=CampaignType(item["type"]),
        status=Status(item["status"]),
        timezone=item["timezone"],
        target=item["target"],
        payload=item.get("payload", {}),
        created_at=instant(item["created_at"]),
        updated_at=instant(item["updated_at"]),
    )


def summary_of(item: Json) -> CampaignSummary:
    """Return a campaign of a list."""
    next_at = instant(item["next_run_at"])
    return CampaignSummary(campaign_of(item), next_at, next_at, None, None)


def run_of(item: Json) -> RunDetail:
    """Return a run of a list."""
    claimed_at = instant_of(item, "claimed_at")
    run = Run(
        id=UUID(item["id"]),
        campaign_id=item["campaign_id"],
        scheduled_for=instant_of(item, "scheduled_for"),
        status=RunStatus(item["status"]),
        attempt=item["attempt"],
        claimed_at=claimed_at,
        start_before=claimed_at,
        node=item["node"],
        takeovers=item["takeovers"],
        cause=item["cause"],
        started_at=instant(item["started_at"]),
        next_attempt_at=instant(item["next_attempt_at"]),
        finished_at=instant(item["finished_at"]),
        error=item["error"],
    )
    return RunDetail(run, UUID(item["campaign_uuid"]), item["campaign_name"], item["target"])


def event_of(item: Json) -> LoggedEvent:
    """Return an event of a campaign's history."""
    run_id = item["run_id"]
    return LoggedEvent(
        id=item["id"],
        campaign_id=item["campaign_id"],
        at=instant_of(item, "at"),
        event=item["event"],
        from_status=item["from_status"],
        to_status=item["to_status"],
        cause=item["cause"],
        actor=item["actor"],
        run_id=None if run_id is None else UUID(run_id),
        scheduled_for=instant(item["scheduled_for"]),
        details=item["details"],
    )


def upcoming_of(item: Json) -> UpcomingEvent:
    """Return an event to come."""
    return UpcomingEvent(
        campaign_id=item["campaign_id"],
        campaign_uuid=UUID(item["campaign_uuid"]),
        campaign_name=item["campaign_name"],
        type=CampaignType(item["type"]),
        status=Status(item["status"]),
        kind=EventKind(item["event"]),
        at=instant_of(item, "at"),
        nominal=datetime.fromisoformat(item["local"]),
        timezone=item["timezone"],
    )


def node_of(item: Json) -> NodeState:
    """Return a node."""
    return NodeState(**{**item, "started_at": instant_of(item, "started_at")})


def schedule_of(item: Json, campaign: Campaign) -> CurrentSchedule | None:
    """Return a campaign's schedule, read from its body again; None without a schedule.

    The first occurrence, from which intervals count, is DTSTART of the recurrence in RFC 5545 form.
    """
    if item["source"] is None:
        return None
    body = {name: value for name, value in item.items() if name not in READ_ONLY}
    rrule = item["rrule"] or ""
    start, interval = _start_of(rrule), _interval_of(rrule)
    anchor = datetime.strptime(start[1], "%Y%m%dT%H%M%S") if start else None  # noqa: DTZ007
    context = BodyContext(
        now=instant_of(item, "saved_at"),
        campaign_type=campaign.type,
        campaign_timezone=campaign.timezone,
        continuous_interval=int(interval[1]) if interval else 300,
        anchor=anchor,
        past=PastStarts.ANY,
    )
    read = read_schedule_body if is_schedule_body(body) else read_update_body
    parsed = read(body, context)
    assert parsed.schedule is not None
    return CurrentSchedule(ScheduleSource(item["source"]), body, parsed.schedule)
