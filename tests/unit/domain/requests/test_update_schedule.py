"""The `update_schedule` body: its documented examples and every fault."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import pytest

from daemon.domain.schedule.schedule import (
    CampaignType,
    Frequency,
    Kind,
    Rule,
    ScheduleSource,
)
from tests.unit.domain.requests.update_bodies import (
    EVENT,
    LIVE,
    NOW,
    ONE_TIME,
    RECURRING,
    SEGMENT,
    START,
    at,
    attributes,
    context,
    current,
    refusal,
    schedule,
    update,
)


def test_the_seeds_first_example_for_every_type() -> None:
    body = {"startdate": "2025-07-01T14:02:36.000Z", "enddate": "2025-07-03T14:02:36.000Z"}
    kinds = {ONE_TIME: Kind.ONCE, RECURRING: Kind.RECURRING}
    for kind in CampaignType:
        saved = update(body, kind)
        assert saved.body == body
        assert (saved.campaign_type, saved.source) == (kind, ScheduleSource.UPDATE_SCHEDULE)
        assert saved.schedule is not None
        assert saved.schedule.kind is kinds.get(kind, Kind.WINDOW)
        assert saved.schedule.anchor_at == at("2025-07-01T14:02:36Z")
        ends = None if kind is ONE_TIME else at("2025-07-03T14:02:36Z")
        assert saved.schedule.ends_at == ends


def test_the_seeds_second_example() -> None:
    body = {
        "repeating_schedule_attributes": {
            "interval_size": 2,
            "interval_unit": "day",
            "day_of_month": "nth_day",
            "days_of_week": ["tue", "thu"],
        },
        "startdate": "2025-07-01T09:00:00.000Z",
        "enddate": "2025-07-15T18:00:00.000Z",
        "recurring_schedule": "daily",
    }
    saved = update(body)
    assert saved.body == body
    assert saved.schedule is not None
    assert saved.schedule.rule == Rule(Frequency.DAILY, 2, date(2025, 7, 1), time(9), (2, 4))
    assert saved.schedule.occurrences(NOW, 10) == [
        at("2025-07-01T09:00Z"),
        at("2025-07-03T09:00Z"),
        at("2025-07-15T09:00Z"),
    ]


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({}, (Frequency.DAILY, 1, date(2025, 7, 1), time(9))),
        ({"days_of_week": []}, (Frequency.DAILY, 1, date(2025, 7, 1), time(9))),
        ({"days_of_week": ["sun"]}, (Frequency.DAILY, 1, date(2025, 7, 6), time(9), (7,))),
        ({"interval_unit": "week"}, (Frequency.WEEKLY, 1, date(2025, 7, 1), time(9), (2,))),
        (
            {"interval_unit": "week", "interval_size": 3, "days_of_week": ["wed", "mon", "wed"]},
            (Frequency.WEEKLY, 3, date(2025, 7, 2), time(9), (1, 3)),
        ),
        ({"interval_unit": "month"}, (Frequency.MONTHLY, 1, date(2025, 7, 1), time(9), (), 1)),
        (
            {"interval_unit": "month", "days_of_week": ["fri"]},
            (Frequency.MONTHLY, 1, date(2025, 7, 1), time(9), (), 1),
        ),
        (
            {"interval_unit": "month", "day_of_month": "last_day"},
            (Frequency.MONTHLY, 1, date(2025, 7, 31), time(9), (), 31),
        ),
        (
            {"interval_unit": "month", "day_of_month": "nth_weekday"},
            (Frequency.MONTHLY, 1, date(2025, 7, 1), time(9), (2,), None, 1),
        ),
        (
            {"interval_unit": "month", "day_of_month": "nth_weekday", "days_of_week": ["mon"]},
            (Frequency.MONTHLY, 1, date(2025, 7, 7), time(9), (1,), None, 1),
        ),
        # Ignored, because it does not apply to weeks.
        (
            {"interval_unit": "week", "day_of_month": "last_day"},
            (Frequency.WEEKLY, 1, date(2025, 7, 1), time(9), (2,)),
        ),
    ],
)
def test_attributes(fields: dict[str, Any], rule: tuple[Any, ...]) -> None:
    assert schedule(attributes(**fields)).rule == Rule(*rule)


@pytest.mark.parametrize(
    ("start", "nth", "weekday"),
    [("2025-07-08", 2, 2), ("2025-07-28", 4, 1), ("2025-07-29", 5, 2), ("2025-07-07", 1, 1)],
)
def test_the_ordinal_is_startdates(start: str, nth: int, weekday: int) -> None:
    body = attributes(interval_unit="month", day_of_month="nth_weekday")
    found = schedule({**body, "startdate": f"{start}T09:00"}).rule
    assert found is not None
    assert (found.nth, found.weekdays, found.first_on) == (
        nth,
        (weekday,),
        date.fromisoformat(start),
    )


def test_the_time_of_day_and_the_day_are_the_zones() -> None:
    body = {**attributes(interval_unit="month"), "startdate": "2025-07-01T20:00Z"}
    found = schedule(body, campaign_timezone="Asia/Tokyo")
    assert found.rule == Rule(Frequency.MONTHLY, 1, date(2025, 7, 2), time(5), (), 2)
    assert found.timezone == "Asia/Tokyo"


def test_windows() -> None:
    body = {"startdate": START}
    daily = schedule(body, SEGMENT)
    assert daily.rule == Rule(Frequency.DAILY, 1, date(2025, 7, 1), time(9))
    often = schedule({**body, "recurring_schedule": "continuously"}, SEGMENT, continuous_interval=7)
    assert (often.rule, often.every_seconds) == (None, 7)
    for kind in (EVENT, LIVE):
        found = schedule({**body, "recurring_schedule": "continuously"}, kind)
        assert (found.rule, found.every_seconds) == (None, None)


@pytest.mark.parametrize(
    ("body", "status", "field", "part"),
    [
        (None, 400, "body", "an object"),
        ([], 400, "body", "an object"),
        ({}, 400, "startdate", "can't be blank"),
        ({"startdate": None}, 400, "startdate", "can't be blank"),
        ({"startdate": ""}, 400, "startdate", "can't be blank"),
        ({"startdate": "2025-07-01"}, 400, "startdate", "must be a datetime"),
        ({"startdate": 1751360400}, 400, "startdate", "1751360400"),
        ({"startdate": "2025-02-30T09:00"}, 400, "startdate", "February 2025 has 28 days"),
        ({"startdate": START, "enddate": "2025-08-01T24:00"}, 400, "enddate", "no hour 24"),
        ({"startdate": "9999-12-31T23:00-05:00"}, 422, "startdate", "outside the years"),
        ({"startdate": START, "enddate": "soon"}, 400, "enddate", "'soon'"),
        ({"startdate": START, "enddate": "2025-08-01"}, 400, "enddate", "must be a datetime"),
        ({"startdate": START, "enddate": ""}, 400, "enddate", "''"),
        ({"startdate": START, "enddate": "9999-12-31T23:00-05:00"}, 422, "enddate", "outside"),
        ({"startdate": START, "enddate": START}, 422, "enddate", "after startdate"),
        ({"startdate": START, "enddate": "2025-07-01T10:59+02:00"}, 422, "enddate", "after"),
        ({"startdate": "2025-06-01T00:00Z"}, 422, "startdate", "must be after"),
        ({"startdate": "2020-01-01T00:00Z"}, 422, "startdate", "2020-01-01"),
        ({"startdate": START, "timezone": "Mars/Phobos"}, 422, "timezone", "IANA"),
        ({"startdate": START, "timezone": "europe/paris"}, 422, "timezone", "Europe/Paris?"),
        ({"startdate": START, "timezone": 7}, 400, "timezone", "is 7"),
        ({"startdate": START, "recurring_schedule": True}, 400, "recurring_schedule", "True"),
        ({"startdate": START, "end_date": START}, 400, "end_date", "unknown"),
        ({"startdate": START, "misfire_grace_time": 0}, 422, "misfire_grace_time", "from 1"),
        ({"startdate": START, "misfire_grace_time": "9"}, 400, "misfire_grace_time", "'9'"),
        ({"startdate": START, "coalesce": 0}, 400, "coalesce", "is 0"),
        ({"startdate": START, "overlap": "both"}, 422, "overlap", "skip, queue, allow"),
        ({"startdate": START, "overlap": []}, 400, "overlap", "[]"),
    ],
)
@pytest.mark.parametrize("kind", list(CampaignType))
def test_wrong_fields_for_every_type(
    kind: CampaignType, body: object, status: int, field: str, part: str
) -> None:
    error = refusal(body, context(kind))
    assert (error.status, list(error.errors)) == (status, [field])
    assert part in error.errors[field][0]
    assert part in error.detail


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"interval_size": "2"}, "interval_size"),
        ({"interval_size": 2.5}, "interval_size"),
        ({"interval_size": True}, "interval_size"),
        ({"interval_unit": 1}, "interval_unit"),
        ({"days_of_week": [1]}, "days_of_week"),
        ({"days_of_week": [None]}, "days_of_week"),
        ({"days_of_week": "mon"}, "days_of_week"),
        ({"days_of_week": {}}, "days_of_week"),
        ({"day_of_month": 5}, "day_of_month"),
        ({"interval": 5}, "interval"),
    ],
)
@pytest.mark.parametrize("kind", list(CampaignType))
def test_malformed_attributes(kind: CampaignType, fields: dict[str, Any], field: str) -> None:
    """With types that use them and types that do not."""
    error = refusal(attributes(**fields), context(kind))
    path = f"repeating_schedule_attributes.{field}"
    assert (error.status, list(error.errors)) == (400, [path])


UNSUPPORTED = [
    ({"recurring_schedule": "hourly"}, SEGMENT, "recurring_schedule"),
    *(
        (
            {"repeating_schedule_attributes": {name: value}},
            RECURRING,
            f"repeating_schedule_attributes.{name}",
        )
        for name, value in (
            ("interval_size", 0),
            ("interval_size", 1000),
            ("interval_unit", "year"),
            ("interval_unit", "Day"),
            ("days_of_week", ["Mon"]),
            ("days_of_week", ["monday"]),
            ("day_of_month", "first_day"),
        )
    ),
]


@pytest.mark.parametrize("kind", list(CampaignType))
@pytest.mark.parametrize(("fields", "used_by", "path"), UNSUPPORTED)
def test_values_that_there_are_not(
    fields: dict[str, Any], used_by: CampaignType, path: str, kind: CampaignType
) -> None:
    """Refused by the type that uses the field; ignored by the others, and not kept."""
    body = {"startdate": START, **fields}
    if kind is used_by:
        error = refusal(body, context(kind))
        assert (error.status, list(error.errors)) == (422, [path])
        return
    assert update(body, kind) == update({"startdate": START}, kind)
    before = current(update({"startdate": START, "overlap": "queue"}, kind))
    assert update(body, kind, current=before).body == before.body


def test_what_is_ignored_is_told_of_no_more() -> None:
    """A refusal names the fields to fix, and no others."""
    body = {"startdate": START, "recurring_schedule": "hourly", "overlap": "both"}
    assert list(refusal(body, context()).errors) == ["overlap"]
    malformed = {**body, "repeating_schedule_attributes": {"interval_unit": "year"}, "enddate": 7}
    error = refusal(malformed, context(ONE_TIME))
    assert (error.status, set(error.errors)) == (400, {"overlap", "enddate"})


@pytest.mark.parametrize("junk", ["daily", [], 5, True])
def test_attributes_are_an_object(junk: object) -> None:
    body = {"startdate": START, "repeating_schedule_attributes": junk}
    error = refusal(body, context())
    assert (error.status, list(error.errors)) == (400, ["repeating_schedule_attributes"])


def test_missing_comes_before_unsupported() -> None:
    error = refusal({"recurring_schedule": "hourly"}, context(SEGMENT))
    assert error.status == 400
    assert error.errors["startdate"] == ["can't be blank"]
    assert set(error.errors) == {"startdate", "recurring_schedule"}


def test_a_recurrence_that_never_runs_is_422() -> None:
    body = {**attributes(days_of_week=["mon"]), "enddate": "2025-07-05T00:00Z"}
    error = refusal(body, context())
    assert (error.status, list(error.errors)) == (422, ["enddate"])
    assert "never run" in error.detail
