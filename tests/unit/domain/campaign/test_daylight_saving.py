"""A campaign that runs at both passes of a repeated local time, edited or resumed between them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from daemon.domain.campaign import commands
from daemon.domain.campaign.model import Campaign, Snapshot
from daemon.domain.campaign.state_machine import Status
from daemon.domain.requests import BodyContext, CurrentSchedule, read_schedule_body
from daemon.domain.schedule.daylight_saving import DaylightSaving, Fold
from daemon.domain.schedule.schedule import CampaignType, EventKind, TimedEvent

UUID_7 = UUID("5c6f3d0a-2f6b-4f0e-8f4e-3c1d2b7a9e55")
BOTH = DaylightSaving(fold=Fold.BOTH)
START = "2026-10-01T01:30:00"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


FIRST, SECOND = at("2026-11-01T05:30:00Z"), at("2026-11-01T06:30:00Z")
HALF_PAST_ONE = at("2026-11-01T01:30:00")


def snapshot(status: Status, now: str, armed: datetime, last: datetime | None) -> Snapshot:
    body: dict[str, Any] = {
        "schedule_type": "recurring",
        "scheduled_at": START,
        "timezone": "America/New_York",
        "recurring_config": {"frequency": "daily"},
    }
    kind = CampaignType.RECURRING
    saved = read_schedule_body(body, BodyContext(at("2026-09-01T00:00Z"), kind))
    assert saved.schedule is not None
    current = CurrentSchedule(saved.source, saved.body, saved.schedule._replace(dst=BOTH))
    timer = current.schedule.event_after(armed - timedelta(microseconds=1))
    campaign = Campaign(7, UUID_7, "a", kind, status)
    return Snapshot(campaign, at(now), current, timer, last)


@pytest.mark.parametrize("last", [FIRST, None], ids=["with a run", "without a run"])
def test_c11_a_campaign_resumed_between_the_passes_runs_at_the_second(
    last: datetime | None,
) -> None:
    paused = snapshot(Status.PAUSED, "2026-11-01T06:15:00Z", SECOND, last)
    change = commands.start(paused, 3600)
    assert change.timer == TimedEvent(EventKind.FIRE, SECOND, HALF_PAST_ONE)


def test_the_second_pass_runs_after_a_missed_first() -> None:
    paused = snapshot(Status.PAUSED, "2026-11-01T05:45:00Z", FIRST, None)
    started = commands.start(paused, 3600)
    assert started.timer == TimedEvent(EventKind.FIRE, SECOND, HALF_PAST_ONE)
    assert [event.at for event in started.missed] == [FIRST]


def test_c11_the_second_pass_runs_once() -> None:
    paused = snapshot(Status.PAUSED, "2026-11-01T06:45:00Z", SECOND, FIRST)
    change = commands.start(paused, 3600)
    assert change.timer is not None
    assert change.timer.at == at("2026-11-02T06:30:00Z")
    assert [event.at for event in change.missed] == [SECOND]


def test_c12_an_edit_of_the_zone_between_the_passes_does_not_repeat_the_date() -> None:
    of = snapshot(Status.SCHEDULED, "2026-11-01T05:45:00Z", SECOND, FIRST)
    context = BodyContext(of.now, of.campaign.type, current=of.current)
    change = commands.update(of, {"startdate": START, "timezone": "UTC"}, context)
    assert change.timer is not None
    assert change.timer.at == at("2026-11-02T01:30:00Z")
