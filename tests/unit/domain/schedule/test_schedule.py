"""Schedules: occurrences across DST, ends, and the order of events."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.domain.schedule import recurrence, schedule, timezones
from daemon.domain.schedule.schedule import (
    CampaignType,
    Frequency,
    Kind,
    Rule,
    Schedule,
    ScheduleSource,
    TimedEvent,
)
from tests.unit.domain.schedule.schedules import (
    FIRE,
    NOW,
    ZONES,
    at,
    chain,
    fires,
    recurring,
    text,
    window,
)


@pytest.mark.parametrize(
    ("timezone", "start", "config", "expected"),
    [
        pytest.param(
            "America/New_York", "2026-03-06T02:30", {},
            ["2026-03-06T07:30", "2026-03-07T07:30", "2026-03-08T07:30", "2026-03-09T06:30"],
            id="in a gap the offset before it holds",
        ),
        pytest.param(
            "America/New_York", "2026-10-31T01:30", {},
            ["2026-10-31T05:30", "2026-11-01T05:30", "2026-11-02T06:30"],
            id="in an overlap the first pass is meant",
        ),
        pytest.param(
            "America/New_York", "2026-11-01T01:30-05:00", {},
            ["2026-11-01T06:30", "2026-11-02T06:30"],
            id="but at the anchor's own wall time its instant holds",
        ),
        pytest.param(
            "America/New_York", "2026-11-01T01:45-04:00", {"time": "01:30"},
            ["2026-11-02T06:30"],
            id="the first pass of the anchor's date can be before the anchor",
        ),
        pytest.param(
            "America/New_York", "2026-11-01T01:30-05:00", {"time": "01:45"},
            ["2026-11-02T06:45"],
            id="as instants, also where its wall time is later",
        ),
        pytest.param(
            "America/New_York", "2026-03-08T03:15", {"time": "02:30"},
            ["2026-03-08T07:30", "2026-03-09T06:30"],
            id="a nominal time before the anchor's can be after it across a gap",
        ),
        pytest.param(
            "America/New_York", "2026-03-08T02:30", {},
            ["2026-03-08T07:30", "2026-03-09T06:30"],
            id="an anchor in a gap keeps its time of day as written",
        ),
        pytest.param(
            "America/New_York", "2026-03-08T07:30Z", {},
            ["2026-03-08T07:30", "2026-03-09T07:30"],
            id="an anchor with an offset has the zone's time of day",
        ),
        pytest.param(
            "Australia/Lord_Howe", "2026-04-04T01:45", {},
            ["2026-04-03T14:45", "2026-04-04T14:45", "2026-04-05T15:15"],
            id="half an hour of overlap",
        ),
        pytest.param(
            "Pacific/Apia", "2011-12-28T10:00", {},
            ["2011-12-28T20:00", "2011-12-29T20:00", "2011-12-30T20:00", "2011-12-31T20:00"],
            id="a day that never was shares its instant with the next, and runs once",
        ),
        pytest.param(
            "UTC", "2026-01-07T09:00",
            {"frequency": "weekly", "interval": 2, "days_of_week": [1, 3]},
            ["2026-01-07T09:00", "2026-01-19T09:00", "2026-01-21T09:00"],
            id="weeks count from the first occurrence's Monday",
        ),
        pytest.param(
            "UTC", "2026-01-06T09:00", {"frequency": "weekly", "interval": 3, "days_of_week": [1]},
            ["2026-01-12T09:00", "2026-02-02T09:00"],
            id="the first one is found as if the interval were 1",
        ),
        pytest.param(
            "UTC", "2026-02-20T09:00", {"frequency": "monthly", "interval": 2, "day_of_month": 15},
            ["2026-03-15T09:00", "2026-05-15T09:00"],
            id="and months count from its month",
        ),
        pytest.param(
            "UTC", "2026-01-31T09:00:05.250", {"frequency": "monthly", "skip": "omit"},
            ["2026-01-31T09:00", "2026-03-31T09:00"],
            id="a month without the day has none when asked",
        ),
    ],
)  # fmt: skip
def test_occurrences(
    timezone: str, start: str, config: dict[str, Any], expected: list[str]
) -> None:
    assert fires(recurring(timezone, start, **config), len(expected)) == expected


@pytest.mark.parametrize(
    ("end", "last"),
    [
        ("2026-01-03", "2026-01-04T04:30"),  # 23:30 on that date in New York
        ("2026-01-03T23:30", "2026-01-04T04:30"),
        ("2026-01-03T23:29:59.999999", "2026-01-03T04:30"),
        ("2026-01-04T04:30:00Z", "2026-01-04T04:30"),
        ("2026-01-04T05:29:59+01:00", "2026-01-03T04:30"),
    ],
)
def test_an_end_is_inclusive_by_local_date_or_by_instant(end: str, last: str) -> None:
    found = recurring("America/New_York", "2026-01-01T23:30", end_date=end)
    assert chain(found)[-1] == (FIRE, last)
    assert text(found.occurrences(NOW, 100)[-1]) == last
    assert found.event_after(at(last + "Z")) is None


def test_an_end_by_date_counts_the_nominal_date() -> None:
    # Clocks went from 00:01 on the 29th back to 23:01 on the 28th.
    found = recurring("America/St_Johns", "2006-10-27T23:30", end_date="2006-10-28", time="23:30")
    assert chain(found) == [(FIRE, "2006-10-28T02:00"), (FIRE, "2006-10-29T02:00")]
    # 00:00:30 on the 29th, first pass, is before the end of the 28th, but is not on the 28th.
    early = recurring("America/St_Johns", "2006-10-27T00:00:30", end_date="2006-10-28")
    assert [instant for _, instant in chain(early)] == ["2006-10-27T02:30", "2006-10-28T02:30"]
    assert early.ends_at is not None
    assert early.ends_at > at("2006-10-29T02:30:30Z")


def test_around_a_gap_at_midnight_the_nominal_date_is_the_one_before() -> None:
    # 23:00 to midnight on the 30th was left out: 23:30 is half an hour into the 31st.
    found = recurring("America/Nuuk", "2024-03-01T23:30")
    instant = at("2024-03-31T01:10Z")
    event = found.event_after(instant)
    assert event == TimedEvent(FIRE, at("2024-03-31T01:30Z"), at("2024-03-30T23:30"))
    late = recurring("America/Nuuk", "2024-03-31T00:10", time="23:30")
    assert late.anchor_at == instant
    assert late.first_event() == event


def test_around_an_overlap_at_midnight_the_first_pass_is_on_the_date_after() -> None:
    found = recurring("America/St_Johns", "2006-10-01T00:00:30")
    # A second pass of the 28th, after the first pass has touched the 29th.
    latest = found.latest_fire(at("2006-10-29T03:00Z"))
    assert latest == TimedEvent(FIRE, at("2006-10-29T02:30:30Z"), at("2006-10-29T00:00:30"))


def test_a_recurrence_begins_with_its_first_occurrence() -> None:
    found = recurring("UTC", "2026-01-01T09:00", frequency="monthly", day_of_month=20)
    assert found.anchor_at == at("2026-01-01T09:00Z")
    assert found.begins_at == at("2026-01-20T09:00Z")


@pytest.mark.parametrize(
    ("before", "after"), [("Pacific/Apia", "Pacific/Niue"), ("Pacific/Niue", "Pacific/Apia")]
)
def test_a_change_of_zone_never_repeats_a_local_date_or_an_instant(before: str, after: str) -> None:
    old = recurring(before, "2026-01-01T09:00")
    new = recurring(after, "2026-01-01T09:00")
    last = old.event_after(at("2026-02-01T00:00Z"))
    assert last is not None
    following = new.event_following(last)
    assert following is not None
    assert following.local.date() > last.local.date()
    assert following.local.time() == last.local.time()
    assert following.at > last.at


def test_a_later_time_of_day_is_after_the_last_one_on_the_same_date() -> None:
    morning, evening = recurring("UTC", "2026-01-01T09:00"), recurring("UTC", "2026-01-01T19:00")
    first = morning.first_event()
    assert first is not None
    following = evening.event_following(first)
    assert following is not None
    assert text(following.at) == "2026-01-01T19:00"


@pytest.mark.parametrize(
    "config",
    [
        {"frequency": "daily"},
        {"frequency": "daily", "days_of_week": [1]},
        {"frequency": "weekly"},
        {"frequency": "monthly"},
    ],
)
@pytest.mark.parametrize("timezone", ["America/New_York", "Asia/Tokyo"])
def test_the_calendar_ends_without_an_exception(timezone: str, config: dict[str, Any]) -> None:
    found = recurring(timezone, "9999-11-01T22:00", **config)
    events = chain(found, 400)
    assert 0 < len(events) < 400
    assert events[-1][1] < "9999-12-31T24"
    assert len(found.occurrences(NOW, 400)) == len(events)
    endless = window(
        CampaignType.SEGMENT_TRIGGERED,
        startdate="9999-12-31T00:00Z",
        timezone=timezone,
        recurring_schedule="continuously",
    )
    assert len(endless.occurrences(NOW, 10_000)) == 24 * 12


def test_around_the_first_and_last_instant_nothing_raises() -> None:
    found = recurring("America/New_York", "2026-01-01T09:00")
    assert found.event_after(datetime.max.replace(tzinfo=UTC)) is None
    first = found.event_after(datetime.min.replace(tzinfo=UTC))
    assert first == found.first_event()
    assert found.latest_fire(datetime.min.replace(tzinfo=UTC)) is None
    assert found.latest_fire(datetime.max.replace(tzinfo=UTC)) is not None


@settings(max_examples=300)
@given(
    st.sampled_from(ZONES),
    st.datetimes(at("2005-01-01T00:00"), at("2035-01-01T00:00")),
    st.sampled_from(["daily", "weekly", "monthly"]),
    st.integers(1, 5),
    st.integers(-3_000_000, 60_000_000),
)
def test_after_an_instant_and_after_an_event_agree(
    timezone: str, start: datetime, frequency: str, interval: int, seconds: int
) -> None:
    found = recurring(timezone, start.isoformat(), frequency=frequency, interval=interval)
    instant = found.anchor_at + timedelta(seconds=seconds)
    expected = found.first_event()
    assert expected is not None
    before: TimedEvent | None = None
    while expected.at <= instant:
        before, following = expected, found.event_following(expected)
        assert following is not None
        assert following.at > expected.at
        assert following.local > expected.local
        expected = following
    assert found.event_after(instant) == expected
    assert found.event_after(expected.at - timedelta(microseconds=1)) == expected
    latest = found.latest_fire(instant)
    assert (latest and latest.at) == (before and before.at)
    assert found.occurrences(instant, 1) == [expected.at]


def test_the_cost_of_the_next_event_does_not_grow_with_age() -> None:
    files = {recurrence.__file__, schedule.__file__, timezones.__file__}

    def steps(found: Schedule, instant: datetime) -> int:
        counted = 0

        def trace(frame: Any, *_: object) -> Any:
            nonlocal counted
            counted += frame.f_code.co_filename in files
            return trace

        sys.settrace(trace)
        try:
            event = found.event_after(instant)
            assert event is not None
            found.event_following(event)
            found.latest_fire(instant)
        finally:
            sys.settrace(None)
        return counted

    for frequency in ("daily", "weekly", "monthly"):
        found = recurring("Europe/Dublin", "2001-01-31T09:00", frequency=frequency)
        young = steps(found, at("2001-03-03T00:00Z"))
        old = steps(found, at("2056-03-03T00:00Z"))
        assert 0 < old <= young + 20


def test_a_schedule_is_built_without_any_work() -> None:
    # A hot path rebuilds schedules from rows, so not even an unknown zone is looked up.
    rule = Rule(Frequency.DAILY, 1, date(2026, 1, 1), at("2026-01-01T09:00").time())
    args = (Kind.RECURRING, "No/Where", at("2026-01-01T09:00Z"), at("2026-01-01T09:00"), rule)
    assert Schedule(ScheduleSource.SCHEDULE, *args).timezone == "No/Where"
