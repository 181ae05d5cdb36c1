"""Commands on snapshots, beyond the rows of the lifecycle table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from daemon.domain.campaign import commands
from daemon.domain.campaign.model import Campaign, Snapshot
from daemon.domain.campaign.state_machine import Event, Status
from daemon.domain.errors import InvalidInput, Refused
from daemon.domain.requests import (
    BodyContext,
    CurrentSchedule,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.schedule.schedule import CampaignType, EventKind, TimedEvent

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
UUID_7 = UUID("5c6f3d0a-2f6b-4f0e-8f4e-3c1d2b7a9e55")


def campaign(status: Status, kind: CampaignType = CampaignType.RECURRING, **facts: Any) -> Campaign:
    return Campaign(7, UUID_7, "a", kind, status, **facts)


def snapshot(
    status: Status,
    *,
    now: datetime = NOW,
    body: dict[str, Any] | None = None,
    timer: TimedEvent | None = None,
    last: datetime | None = None,
    kind: CampaignType = CampaignType.RECURRING,
    **facts: Any,
) -> Snapshot:
    current = None
    if body is not None:
        read = read_schedule_body if "schedule_type" in body else read_update_body
        saved = read(body, BodyContext(NOW - timedelta(days=300), kind))
        current = CurrentSchedule(saved.source, saved.body, saved.schedule)
    return Snapshot(campaign(status, kind, **facts), now, current, timer, last)


def context(of: Snapshot) -> BodyContext:
    return BodyContext(of.now, of.campaign.type, current=of.current)


def daily(**config: Any) -> dict[str, Any]:
    return {
        "schedule_type": "recurring",
        "scheduled_at": "2026-05-01T09:00:00Z",
        "recurring_config": {"frequency": "daily", **config},
    }


def event(at: datetime, kind: EventKind = EventKind.FIRE, zone: str = "UTC") -> TimedEvent:
    return TimedEvent(kind, at, at.astimezone(ZoneInfo(zone)).replace(tzinfo=None))


def test_saving_forgets_what_the_schedule_before_came_to() -> None:
    of = snapshot(Status.FAILED, has_due=True)
    body = {**daily(), "scheduled_at": "2026-06-02T09:00:00Z"}
    change = commands.save(of, body, context(of))
    assert (change.to_status, change.type, change.forget_history) == (
        Status.SCHEDULED,
        CampaignType.RECURRING,
        True,
    )
    assert change.timer == event(datetime(2026, 6, 2, 9, tzinfo=UTC))
    assert change.more_to_come
    assert not change.keep_timer


def test_a_malformed_body_is_malformed_in_every_status() -> None:
    for status in Status:
        of = snapshot(status)
        with pytest.raises(InvalidInput) as error:
            commands.update(of, {"startdate": 5}, context(of))
        assert error.value.status == 400


def test_a_refusal_says_what_is_allowed() -> None:
    of = snapshot(Status.PAUSED, open_runs=1)
    body = {**daily(), "scheduled_at": "2026-06-02T09:00:00Z"}
    with pytest.raises(Refused) as error:
        commands.save(of, body, context(of))
    assert error.value.detail.startswith(
        "cannot save a schedule for a paused campaign with an open run (allowed: draft,"
    )
    of = snapshot(Status.COMPLETED)
    with pytest.raises(Refused) as error:
        commands.update(of, {"startdate": "2026-06-02T09:00:00Z"}, context(of))
    assert (error.value.status, error.value.message) == (422, "Invalid schedule values")


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.CANCELLED, Status.ARCHIVED])
@pytest.mark.parametrize("kind", [CampaignType.ONE_TIME, CampaignType.RECURRING])
def test_a_refused_update_names_only_statuses_that_this_type_allows(
    status: Status, kind: CampaignType
) -> None:
    of = snapshot(status, kind=kind)
    with pytest.raises(Refused, match=r"\(allowed: draft, scheduled, paused\)$"):
        commands.update(of, {"startdate": "2026-06-02T09:00:00Z"}, context(of))


@pytest.mark.parametrize(
    ("kind", "status", "way"),
    [
        (
            CampaignType.RECURRING,
            Status.LAUNCHED,
            "pause it first, or save the whole schedule with POST /api/v1/campaigns/7/schedule",
        ),
        (CampaignType.RECURRING, Status.EXECUTING, "pause it first"),
        (CampaignType.LIVE_CONTENT, Status.LAUNCHED, "pause it first"),
    ],
)
def test_a_refused_update_of_a_live_campaign_says_what_works(
    kind: CampaignType, status: Status, way: str
) -> None:
    of = snapshot(status, kind=kind)
    with pytest.raises(Refused) as error:
        commands.update(of, {"startdate": "2026-06-02T09:00:00Z"}, context(of))
    assert error.value.detail.endswith(f"(allowed: draft, scheduled, paused); {way}")


def test_a_recurrence_that_keeps_its_start_goes_on_after_its_last_occurrence() -> None:
    """It repeats no local date, and is refused where no occurrence is left."""
    last = datetime(2026, 5, 31, 9, tzinfo=UTC)
    timer = event(datetime(2026, 6, 2, 9, tzinfo=UTC))
    before = daily(interval=2)
    of = snapshot(Status.LAUNCHED, body=before, last=last, timer=timer)
    change = commands.save(of, before, context(of))
    assert (change.timer, change.to_status, change.more_to_come) == (timer, Status.SCHEDULED, True)
    moved = commands.save(of, {**before, "timezone": "Pacific/Auckland"}, context(of))
    assert moved.timer is not None
    assert moved.timer.local.date() == timer.local.date()
    ahead = snapshot(
        Status.LAUNCHED, body=daily(), last=datetime(2026, 6, 2, 9, tzinfo=UTC), timer=timer
    )
    over = {**daily(end_date="2026-06-02", time="09:00"), "timezone": "Etc/GMT+12"}
    with pytest.raises(InvalidInput, match="no occurrence left"):
        commands.save(ahead, over, context(ahead))


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        (CampaignType.LIVE_CONTENT, None, "needs a schedule"),
        (CampaignType.RECURRING, daily(end_date="2026-05-20"), "is over"),
    ],
)
def test_why_nothing_starts(kind: CampaignType, body: Any, words: str) -> None:
    of = snapshot(Status.DRAFT, body=body, kind=kind)
    with pytest.raises(Refused, match=words):
        commands.start(of, 3600)


def test_starting_what_is_started_writes_nothing() -> None:
    for status in (Status.SCHEDULED, Status.LAUNCHED, Status.EXECUTING):
        change = commands.start(snapshot(status, body=daily()), 3600)
        assert (change.nothing, change.to_status) == (True, status)


def test_a_start_without_a_schedule_is_one_run_now() -> None:
    change = commands.start(snapshot(Status.DRAFT), 77)
    assert change.run is not None
    assert (change.run.scheduled_for, change.run.cause, change.run.grace) == (NOW, "start", 77)
    assert (change.timer, change.more_to_come) == (None, False)


def test_a_rerun_has_its_schedules_grace() -> None:
    body = {**daily(), "misfire_grace_time": 5}
    with_one = commands.rerun(snapshot(Status.COMPLETED, body=body), 77)
    without = commands.rerun(snapshot(Status.COMPLETED), 77)
    assert (with_one.run and with_one.run.grace, without.run and without.run.grace) == (5, 77)


@pytest.mark.parametrize("type_", CampaignType)
def test_a_rerun_leaves_the_schedule_alone(type_: CampaignType) -> None:
    change = commands.rerun(snapshot(Status.CANCELLED, kind=type_), 77)
    assert change.keep_timer
    assert change.schedule is None
    assert not change.forget_history


# --- due, unclaimed occurrences, and the next event -----------------------------------------


def test_what_is_dropped_is_missed_however_generous_the_grace() -> None:
    first = event(datetime(2026, 5, 30, 9, tzinfo=UTC))
    body = {**daily(), "misfire_grace_time": 31_536_000}
    change = commands.stop(snapshot(Status.LAUNCHED, body=body, timer=first))
    assert [missed.at.day for missed in change.missed] == [30, 31, 1]
    assert change.bulk_missed is None
    assert change.cancel_open_runs


def test_an_occurrence_due_right_now_is_missed_too() -> None:
    now = datetime(2026, 6, 1, 9, tzinfo=UTC)
    for at, count in ((now, 1), (now + timedelta(microseconds=1), 0)):
        body = {"schedule_type": "scheduled", "scheduled_at": at.isoformat()}
        of = snapshot(Status.SCHEDULED, now=now, body=body, timer=event(at))
        assert len(commands.stop(of).missed) == count


def test_runs_behind_an_unclaimed_opening_are_missed() -> None:
    body = {"startdate": "2026-05-30T09:00:00Z"}
    opening = event(datetime(2026, 5, 30, 9, tzinfo=UTC), EventKind.OPEN)
    kind = CampaignType.SEGMENT_TRIGGERED
    of = snapshot(Status.SCHEDULED, body=body, timer=opening, kind=kind)
    assert [missed.at.day for missed in commands.clear(of).missed] == [30, 31, 1]
    of = snapshot(Status.SCHEDULED, body=body, timer=opening, kind=CampaignType.EVENT_TRIGGERED)
    assert commands.clear(of).missed == ()


def test_resuming_goes_on_after_now_and_after_what_was_armed_before() -> None:
    of = snapshot(Status.PAUSED, body=daily(), timer=event(datetime(2026, 6, 2, 9, tzinfo=UTC)))
    assert commands.start(of, 3600).timer == of.timer
    # The occurrence of the 2nd was already over in the previous zone.
    later = replace(of, timer=event(datetime(2026, 6, 3, 9, tzinfo=UTC)))
    assert commands.start(later, 3600).timer == later.timer


def test_nothing_comes_after_the_last() -> None:
    body = daily(end_date="2026-06-01")
    of = snapshot(Status.PAUSED, body=body, last=datetime(2026, 6, 1, 9, tzinfo=UTC))
    with pytest.raises(Refused):
        commands.start(of, 3600)


def test_an_unopened_window_is_opened_when_its_campaign_goes_on() -> None:
    body = {"startdate": "2026-06-01T09:00:00Z", "enddate": "2026-07-01T09:00:00Z"}
    opening = event(datetime(2026, 6, 1, 9, tzinfo=UTC), EventKind.OPEN)
    of = snapshot(Status.SCHEDULED, body=body, timer=opening, kind=CampaignType.EVENT_TRIGGERED)
    change = commands.update(of, {"startdate": "2026-06-01T09:00:00Z"}, context(of))
    assert (change.timer, change.to_status) == (opening, Status.SCHEDULED)


def test_pausing_keeps_the_timer_and_what_is_to_come() -> None:
    for more in (True, False):
        change = commands.pause(snapshot(Status.EXECUTING, open_runs=1, more_to_come=more))
        assert (change.keep_timer, change.more_to_come, change.event) == (True, more, Event.PAUSE)


def test_archiving_remembers_and_unarchiving_forgets() -> None:
    put_away = commands.archive(snapshot(Status.FAILED))
    assert (put_away.to_status, put_away.archived_from) == (Status.ARCHIVED, Status.FAILED)
    back = commands.unarchive(snapshot(Status.ARCHIVED, archived_from=Status.FAILED))
    assert (back.to_status, back.archived_from) == (Status.FAILED, None)
