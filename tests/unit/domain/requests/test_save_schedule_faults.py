"""The `schedule` body: every fault is refused and named."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.domain.requests import PastStarts, read_schedule_body
from daemon.domain.schedule.schedule import (
    CampaignType,
)
from tests.unit.domain.requests.save_bodies import (
    ABSENT,
    CTX,
    NOW,
    recurring,
    refusal,
    schedule,
)


@pytest.mark.parametrize(
    ("body", "field", "part"),
    [
        (None, "body", "must be an object"),
        ([], "body", "must be an object"),
        ("immediate", "body", "must be an object"),
        ({}, "schedule_type", "can't be blank"),
        ({"schedule_type": None}, "schedule_type", "can't be blank"),
        ({"schedule_type": "Immediate"}, "schedule_type", "immediate, scheduled, recurring"),
        ({"schedule_type": 1}, "schedule_type", "is 1"),
        ({"schedule_type": ["immediate"]}, "schedule_type", "must be one of"),
        ({"schedule_type": "immediate", "scheduledAt": 1}, "scheduledAt", "is unknown"),
        ({"schedule_type": "immediate", "scheduled_at": "soon"}, "scheduled_at", "is 'soon'"),
        ({"schedule_type": "immediate", "scheduled_at": 5}, "scheduled_at", "is 5"),
        ({"schedule_type": "immediate", "timezone": "utc"}, "timezone", "did you mean UTC?"),
        ({"schedule_type": "immediate", "timezone": 0}, "timezone", "is 0"),
        ({"schedule_type": "immediate", "coalesce": "yes"}, "coalesce", "true or false"),
        ({"schedule_type": "immediate", "coalesce": 1}, "coalesce", "is 1"),
        ({"schedule_type": "immediate", "overlap": "stop"}, "overlap", "skip, queue, allow"),
        ({"schedule_type": "immediate", "misfire_grace_time": 0}, "misfire_grace_time", "from 1"),
        (
            {"schedule_type": "immediate", "misfire_grace_time": 31_536_001},
            "misfire_grace_time",
            "31536000",
        ),
        (
            {"schedule_type": "immediate", "pause_after_failures": 101},
            "pause_after_failures",
            "must be from 0 to 100",
        ),
        ({"schedule_type": "immediate", "misfire_grace_time": True}, "misfire_grace_time", "True"),
        ({"schedule_type": "immediate", "misfire_grace_time": 60.0}, "misfire_grace_time", "60.0"),
        ({"schedule_type": "scheduled"}, "scheduled_at", "can't be blank"),
        ({"schedule_type": "scheduled", "scheduled_at": None}, "scheduled_at", "can't be blank"),
        ({"schedule_type": "scheduled", "scheduled_at": ""}, "scheduled_at", "must be a datetime"),
        (
            {"schedule_type": "scheduled", "scheduled_at": "2026-07-01"},
            "scheduled_at",
            "must be a datetime",
        ),
        (
            {"schedule_type": "scheduled", "scheduled_at": "2027-02-29T09:00:00Z"},
            "scheduled_at",
            "is '2027-02-29T09:00:00Z', but there is no such day: February 2027 has 28 days",
        ),
        (recurring(end_date="2027-02-29"), "recurring_config.end_date", "February 2027 has 28"),
        (
            {"schedule_type": "scheduled", "scheduled_at": "9999-12-31T23:00-05:00"},
            "scheduled_at",
            "outside the years 1 to 9999",
        ),
        ({"schedule_type": "recurring"}, "recurring_config", "can't be blank"),
        ({"schedule_type": "recurring", "recurring_config": None}, "recurring_config", "blank"),
        ({"schedule_type": "recurring", "recurring_config": []}, "recurring_config", "an object"),
        (recurring(frequency=ABSENT), "recurring_config.frequency", "can't be blank"),
        (recurring(frequency=None), "recurring_config.frequency", "can't be blank"),
        (recurring(frequency="hourly"), "recurring_config.frequency", "daily, weekly, monthly"),
        (recurring(frequency="Daily"), "recurring_config.frequency", "'Daily'"),
        (recurring(interval=0), "recurring_config.interval", "from 1 to 999"),
        (recurring(interval=1000), "recurring_config.interval", "is 1000"),
        (recurring(interval=-1), "recurring_config.interval", "is -1"),
        (recurring(interval="1"), "recurring_config.interval", "is '1'"),
        (recurring(interval=1.5), "recurring_config.interval", "is 1.5"),
        (recurring(interval=1.0), "recurring_config.interval", "is 1.0"),
        (recurring(interval=True), "recurring_config.interval", "is True"),
        (recurring(interval=10**5000), "recurring_config.interval", "too large to show"),
        (recurring(days_of_week=[]), "recurring_config.days_of_week", "is empty"),
        (recurring(days_of_week=[0]), "recurring_config.days_of_week", "is [0]"),
        (recurring(days_of_week=[8]), "recurring_config.days_of_week", "1 to 7"),
        (recurring(days_of_week=["mon"]), "recurring_config.days_of_week", "'mon'"),
        (recurring(days_of_week=[True]), "recurring_config.days_of_week", "True"),
        (recurring(days_of_week=[None]), "recurring_config.days_of_week", "None"),
        (recurring(days_of_week=1), "recurring_config.days_of_week", "an array"),
        (recurring(days_of_week={"1": 1}), "recurring_config.days_of_week", "an array"),
        (recurring(day_of_month=0), "recurring_config.day_of_month", "from 1 to 31"),
        (recurring(day_of_month=32), "recurring_config.day_of_month", "is 32"),
        (recurring(day_of_month="1"), "recurring_config.day_of_month", "'1'"),
        (recurring(day_of_month=-1), "recurring_config.day_of_month", "-1"),
        (recurring(time="9:00"), "recurring_config.time", "HH:MM"),
        (recurring(time="24:00"), "recurring_config.time", "00:00 to 23:59"),
        (recurring(time="09:60"), "recurring_config.time", "'09:60'"),
        (recurring(time="09:00:00"), "recurring_config.time", "HH:MM"),
        (recurring(time="09:00 "), "recurring_config.time", "HH:MM"),
        (recurring(time="09:00\n"), "recurring_config.time", "HH:MM"),
        (recurring(time="٠٩:00"), "recurring_config.time", "HH:MM"),
        (recurring(time=900), "recurring_config.time", "is 900"),
        (recurring(time=""), "recurring_config.time", "HH:MM"),
        (recurring(time=ABSENT), "recurring_config.time", "without scheduled_at"),
        (recurring(time_zone="Mars/Phobos"), "recurring_config.time_zone", "'Mars/Phobos'"),
        (recurring(time_zone="US/eastern"), "recurring_config.time_zone", "mean US/Eastern?"),
        (recurring(time_zone="../../etc/passwd"), "recurring_config.time_zone", "IANA"),
        (recurring(end_date="2026-7-1"), "recurring_config.end_date", "a date YYYY-MM-DD"),
        (recurring(end_date="2026-02-30"), "recurring_config.end_date", "'2026-02-30'"),
        (recurring(end_date=20260701), "recurring_config.end_date", "20260701"),
        (recurring(end_date="2026-06-10"), "recurring_config.end_date", "never run"),
        (recurring(end_date="2026-06-11T08:59:59.999"), "recurring_config.end_date", "never run"),
        (recurring(end_date="9999-12-31T23:00-05:00"), "recurring_config.end_date", "outside"),
        (recurring(end_date="2020-01-01"), "recurring_config.end_date", "never run"),
        (recurring(skip="forward"), "recurring_config.skip", "backward, omit"),
        (recurring(skip=False), "recurring_config.skip", "is False"),
        (recurring(until="2026"), "recurring_config.until", "is unknown"),
        (recurring(frequency="weekly"), "recurring_config.days_of_week", "without scheduled_at"),
        (recurring(frequency="monthly"), "recurring_config.day_of_month", "without scheduled_at"),
        (
            recurring(top_scheduled_at="9999-12-31T22:00"),
            "recurring_config",
            "no occurrence before the year 10000",
        ),
    ],
)  # fmt: skip
def test_everything_wrong_is_400_and_named(body: object, field: str, part: str) -> None:
    error = refusal(body)
    assert (error.status, error.message) == (400, "Invalid schedule configuration")
    assert list(error.errors) == [field]
    assert part in error.errors[field][0]
    assert field in error.detail
    assert part in error.detail
    assert len(error.detail) < 400


def test_all_faults_are_reported_at_once() -> None:
    body = recurring(interval=0, time="x", top_timezone="utc", top_extra=1, extra=None)
    assert set(refusal(body).errors) == {
        "recurring_config.interval",
        "recurring_config.time",
        "recurring_config.extra",
        "timezone",
        "extra",
    }


@pytest.mark.parametrize(
    "strange", ["\ud800", "a" * 10_000, "line\nbreak", "\x1b[31m", "\0"], ids=ascii
)
def test_strange_names_and_values_are_shown_harmlessly(strange: str) -> None:
    for body in ({"schedule_type": strange}, {"schedule_type": "immediate", strange: 1}):
        error = refusal(body)
        text = error.detail + "".join(error.errors)
        assert text.isprintable()
        text.encode()
        assert len(text) < 1000
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    assert "too large to show" in refusal({"schedule_type": nested}).detail
    many = {f"field{number}": 1 for number in range(10_000)}
    assert len(refusal(many).detail) < 5000


@pytest.mark.parametrize(
    "written", ["2026-06-10T12:00:00Z", "2026-06-10T14:00+02:00", "2026-06-10T11:00"]
)
def test_the_past_is_refused(written: str) -> None:
    for body in (
        {"schedule_type": "scheduled", "scheduled_at": written},
        recurring(top_scheduled_at=written),
    ):
        error = refusal(body)
        assert (error.status, error.message) == (400, "Scheduled time is in the past")
        assert list(error.errors) == ["scheduled_at"]
        assert written in error.detail
        read_schedule_body(body, CTX._replace(past=PastStarts.ANY))
    once = {"schedule_type": "scheduled", "scheduled_at": written}
    importing = CTX._replace(past=PastStarts.RECURRENCES)
    assert refusal(once, importing).message == "Scheduled time is in the past"
    assert schedule(recurring(top_scheduled_at=written), importing).anchor_at <= NOW


def test_a_moment_after_now_is_not_the_past() -> None:
    body = {"schedule_type": "scheduled", "scheduled_at": "2026-06-10T12:00:00.000001Z"}
    assert schedule(body).anchor_at > NOW


@pytest.mark.parametrize(
    "kind",
    [CampaignType.SEGMENT_TRIGGERED, CampaignType.EVENT_TRIGGERED, CampaignType.LIVE_CONTENT],
)
def test_a_window_is_referred_to_update_schedule(kind: CampaignType) -> None:
    ctx = CTX._replace(campaign_type=kind)
    for body in (recurring(), {"schedule_type": "scheduled", "scheduled_at": "2027-01-01T00:00Z"}):
        error = refusal(body, ctx)
        assert (error.status, error.message) == (400, "Invalid schedule configuration")
        assert "update_schedule" in error.detail
