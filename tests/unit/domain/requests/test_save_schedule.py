"""The `schedule` body and its meaning."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import pytest

from daemon.domain.requests import Current, Past, Saved, is_schedule_body, save_schedule
from daemon.domain.schedule.schedule import (
    CampaignType,
    Frequency,
    Kind,
    Overlap,
    Rule,
    Schedule,
    ScheduleSource,
    Skip,
)
from tests.unit.domain.requests.save_bodies import (
    ABSENT,
    CTX,
    at,
    recurring,
    schedule,
)


def test_immediate_clears_whatever_the_type() -> None:
    for kind in CampaignType:
        body = {"schedule_type": "immediate", "scheduled_at": "2020-01-01T00:00Z", "timezone": None}
        saved = save_schedule(body, CTX._replace(campaign_type=kind))
        stored = {"schedule_type": "immediate", "scheduled_at": "2020-01-01T00:00Z"}
        assert saved == Saved(None, kind, ScheduleSource.SCHEDULE, stored)


def test_scheduled() -> None:
    body = {
        "schedule_type": "scheduled",
        "scheduled_at": "2026-07-01T09:00:00",
        "timezone": "America/New_York",
    }
    saved = save_schedule(body, CTX._replace(campaign_type=CampaignType.RECURRING))
    assert saved.campaign_type is CampaignType.ONE_TIME
    assert saved.body == body
    assert saved.schedule == Schedule(
        source=ScheduleSource.SCHEDULE,
        kind=Kind.ONCE,
        timezone="America/New_York",
        anchor_at=at("2026-07-01T13:00Z"),
        anchor_local=at("2026-07-01T09:00"),
    )


def test_recurring() -> None:
    config = {
        "frequency": "weekly",
        "interval": 2,
        "days_of_week": [5, 1, 3, 1],
        "time": "09:30",
        "time_zone": "America/New_York",
        "end_date": "2026-12-31",
    }
    body = {"schedule_type": "recurring", "recurring_config": config}
    saved = save_schedule(body, CTX)
    assert saved.campaign_type is CampaignType.RECURRING
    assert saved.body == body
    rule = Rule(Frequency.WEEKLY, 2, date(2026, 6, 10), time(9, 30), (1, 3, 5))
    assert saved.schedule == Schedule(
        source=ScheduleSource.SCHEDULE,
        kind=Kind.RECURRING,
        timezone="America/New_York",
        anchor_at=at("2026-06-10T13:30Z"),
        anchor_local=at("2026-06-10T09:30"),
        rule=rule,
        ends_at=at("2027-01-01T04:59:59.999999Z"),
        ends_on=date(2026, 12, 31),
    )


@pytest.mark.parametrize(
    ("body", "zone"),
    [
        (recurring(time_zone="Asia/Tokyo", top_timezone="Europe/Paris"), "Asia/Tokyo"),
        (recurring(top_timezone="Europe/Paris"), "Europe/Paris"),
        (recurring(time_zone=None), "America/Chicago"),
        (
            {
                "schedule_type": "scheduled",
                "scheduled_at": "2026-07-01T09:00",
                "recurring_config": {"time_zone": "Asia/Tokyo"},
            },
            "America/Chicago",
        ),
    ],
)
def test_zones_in_their_order(body: dict[str, Any], zone: str) -> None:
    found = schedule(body, CTX._replace(campaign_timezone="America/Chicago"))
    assert found.timezone == zone


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            recurring(time=ABSENT, top_scheduled_at="2026-07-01T10:20:30"),
            Rule(Frequency.DAILY, 1, date(2026, 7, 1), time(10, 20, 30)),
            id="time of a naive scheduled_at as written",
        ),
        pytest.param(
            recurring(
                time=ABSENT, time_zone="Asia/Tokyo", top_scheduled_at="2026-07-01T20:00:00.000001Z"
            ),
            Rule(Frequency.DAILY, 1, date(2026, 7, 2), time(5, 0, 0, 1)),
            id="else in the zone",
        ),
        pytest.param(
            recurring(frequency="weekly", top_scheduled_at="2026-07-04T08:00"),
            Rule(Frequency.WEEKLY, 1, date(2026, 7, 4), time(9), (6,)),
            id="weekly on scheduled_at's weekday",
        ),
        pytest.param(
            recurring(
                frequency="weekly", time_zone="Asia/Tokyo", top_scheduled_at="2026-07-04T20:00Z"
            ),
            Rule(Frequency.WEEKLY, 1, date(2026, 7, 5), time(9), (7,)),
            id="which is the zone's",
        ),
        pytest.param(
            recurring(frequency="monthly", top_scheduled_at="2026-07-31T08:00"),
            Rule(Frequency.MONTHLY, 1, date(2026, 7, 31), time(9), (), 31),
            id="monthly on its day",
        ),
        pytest.param(
            recurring(frequency="monthly", day_of_month=30, skip="omit", days_of_week=[2]),
            Rule(Frequency.MONTHLY, 1, date(2026, 6, 30), time(9), (), 30, None, Skip.OMIT),
            id="days_of_week does not apply to monthly",
        ),
        pytest.param(
            recurring(days_of_week=[6, 7], interval=2),
            Rule(Frequency.DAILY, 2, date(2026, 6, 13), time(9), (6, 7)),
            id="but limits daily",
        ),
        pytest.param(
            recurring(time="12:00"),
            Rule(Frequency.DAILY, 1, date(2026, 6, 11), time(12)),
            id="without an anchor, strictly after now",
        ),
    ],
)
def test_rules(body: dict[str, Any], expected: Rule) -> None:
    assert schedule(body).rule == expected


def test_recurring_config_beside_another_type_is_not_read() -> None:
    for junk in ("junk", {"x": [1]}, 7):
        body = {
            "schedule_type": "scheduled",
            "scheduled_at": "2026-07-01T09:00Z",
            "recurring_config": junk,
        }
        saved = save_schedule(body, CTX)
        assert saved.schedule is not None
        assert "recurring_config" not in saved.body


def test_null_is_absent() -> None:
    body = recurring(
        interval=None, days_of_week=None, day_of_month=None, time_zone=None, end_date=None,
        skip=None, top_timezone=None, top_scheduled_at=None, top_coalesce=None, top_overlap=None,
        top_misfire_grace_time=None,
    )  # fmt: skip
    assert schedule(body) == schedule(recurring())
    assert save_schedule(body, CTX).body == recurring()


def test_a_date_may_lie_at_the_end_of_time() -> None:
    found = schedule(recurring(end_date="9999-12-31", time_zone="America/New_York"))
    assert found.ends_on == date(9999, 12, 31)


def test_extensions_are_taken_and_kept_from_before() -> None:
    extras = {"misfire_grace_time": 60, "coalesce": False, "overlap": "queue"}
    body = {"schedule_type": "scheduled", "scheduled_at": "2026-07-01T09:00Z"}
    first = save_schedule({**body, **extras}, CTX)
    assert first.schedule is not None
    kept = (first.schedule.misfire_grace_time, first.schedule.coalesce, first.schedule.overlap)
    assert kept == (60, False, Overlap.QUEUE)
    current = Current(first.source, first.body, first.schedule)
    again = save_schedule({**body, "overlap": None}, CTX._replace(current=current))
    assert again.schedule == first.schedule
    # The kept values are written out, so that the stored body has the same meaning on its own.
    assert again.body == {**body, **extras}
    changed = schedule({**body, "coalesce": True}, CTX._replace(current=current))
    assert (changed.coalesce, changed.misfire_grace_time) == (True, 60)
    assert schedule(body, CTX._replace(misfire_grace_time=7)).misfire_grace_time == 7


def test_an_anchor_gives_a_stored_recurrence_its_first_occurrence_again() -> None:
    body = recurring(interval=3, time_zone="America/New_York")
    first = schedule(body)
    later = CTX._replace(now=at("2027-01-01T00:00Z"), past=Past.ANY)
    assert schedule(body, later) != first
    assert schedule(body, later._replace(anchor=first.anchor_local)) == first


@pytest.mark.parametrize(
    ("body", "expected"),
    [({"schedule_type": "x"}, True), ({"schedule_type": None}, True), ({"startdate": 1}, False),
     ([], False), ("schedule_type", False), (None, False)],
)  # fmt: skip
def test_bodies_are_told_apart(body: object, expected: bool) -> None:
    assert is_schedule_body(body) is expected
