"""The occurrences of several schedules, merged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from daemon.domain.campaign.state_machine import Status
from daemon.domain.occurrences import ScheduledCampaign, coming_events
from daemon.domain.requests import BodyContext, PastStarts, read_update_body
from daemon.domain.schedule.schedule import CampaignType, EventKind, Schedule
from tests.support.builders import daily_schedule, once_schedule
from tests.support.clocks import NOON, days, hours


def campaign(number: int, schedule: Schedule, next_at: datetime = NOON) -> ScheduledCampaign:
    kind = CampaignType.RECURRING
    return ScheduledCampaign(
        number, UUID(int=number), "c", kind, Status.LAUNCHED, "log", schedule, next_at
    )


def window(**more: object) -> Schedule:
    body = {
        "startdate": NOON.isoformat(),
        "enddate": (NOON + days(2)).isoformat(),
        **more,
    }
    kind = CampaignType.SEGMENT_TRIGGERED if more else CampaignType.EVENT_TRIGGERED
    context = BodyContext(NOON - days(1), kind, continuous_interval=60, past=PastStarts.ANY)
    schedule = read_update_body(body, context).schedule
    assert schedule is not None
    return schedule


def test_occurrences_come_in_order_and_end_before_the_end() -> None:
    found = coming_events(
        [campaign(1, daily_schedule()), campaign(2, once_schedule(NOON + hours(30)))],
        NOON,
        NOON + days(2),
    )
    assert [(event.campaign.campaign_id, event.at - NOON) for event in found] == [
        (1, days(0)),
        (1, days(1)),
        (2, hours(30)),
    ]


def test_nothing_comes_before_the_armed_event() -> None:
    """An edit may have armed a later occurrence than the next one of the rule."""
    late = campaign(1, daily_schedule(), NOON + days(3))
    assert [event.at for event in coming_events([late], NOON, NOON + days(5))] == [
        NOON + days(3),
        NOON + days(4),
    ]


def test_a_window_without_timed_runs_opens_and_closes() -> None:
    found = coming_events([campaign(1, window())], NOON, NOON + days(9))
    assert [(event.kind, event.at) for event in found] == [
        (EventKind.OPEN, NOON),
        (EventKind.CLOSE, NOON + days(2)),
    ]


def test_a_continuous_window_is_expanded_only_as_far_as_it_is_taken() -> None:
    schedule = window(recurring_schedule="continuously")
    endless = schedule._replace(ends_at=None)
    found = coming_events([campaign(1, endless)], NOON, datetime(9999, 1, 1, tzinfo=UTC))
    events = list(islice(found, 100))
    assert [event.at for event in events] == [NOON + timedelta(minutes=n) for n in range(100)]
