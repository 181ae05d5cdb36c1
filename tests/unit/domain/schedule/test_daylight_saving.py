"""The policy for local times that a clock change skips or repeats, by examples."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from daemon.domain.schedule import schedule as schedule_module
from daemon.domain.schedule.daylight_saving import DEFAULT, DaylightSaving, Fold, Gap
from daemon.domain.schedule.dst_affected import gap_cause
from daemon.domain.schedule.misfire import decide
from daemon.domain.schedule.recurrence import Frequency
from daemon.domain.schedule.rrule import rrule_text
from daemon.domain.schedule.schedule import CampaignType, Schedule, TimedEvent
from tests.unit.domain.schedule.schedules import CLOSE, FIRE, OPEN, at, by_policy, chain, window

NEW_YORK = "America/New_York"
LORD_HOWE = "Australia/Lord_Howe"
SHIFT, BEFORE, SKIP = (DaylightSaving(gap=gap) for gap in Gap)
FIRST, SECOND, BOTH = (DaylightSaving(fold=fold) for fold in Fold)


def on(found: Schedule, day: str) -> list[str]:
    """Return the instants of the occurrences whose nominal local date is `day`."""
    assert found.rule is not None
    local = datetime.combine(date.fromisoformat(day), found.rule.time)
    event = found.event_after(at(f"{day}T00:00Z") - timedelta(days=3))
    instants = []
    while event is not None and event.local <= local:
        if event.local == local:
            instants.append(f"{event.at:%Y-%m-%dT%H:%M:%SZ}")
        event = found.event_following(event)
    return instants


def event_at(found: Schedule, instant: str) -> TimedEvent:
    event = found.event_after(at(instant) - timedelta(microseconds=1))
    assert event is not None
    assert event.at == at(instant)
    return event


ODD_NIGHTS = {
    "C.1 shift": (NEW_YORK, "02:30", "2026-03-08", SHIFT, "2026-03-08T07:30:00Z"),
    "C.1 before": (NEW_YORK, "02:30", "2026-03-08", BEFORE, "2026-03-08T06:30:00Z"),
    "C.1 skip": (NEW_YORK, "02:30", "2026-03-08", SKIP, "2026-03-08T07:30:00Z"),
    "C.2 first": (NEW_YORK, "01:30", "2026-11-01", FIRST, "2026-11-01T05:30:00Z"),
    "C.2 second": (NEW_YORK, "01:30", "2026-11-01", SECOND, "2026-11-01T06:30:00Z"),
    "C.2 both": (
        NEW_YORK, "01:30", "2026-11-01", BOTH, "2026-11-01T05:30:00Z 2026-11-01T06:30:00Z"
    ),
    "C.3 shift": (LORD_HOWE, "02:15", "2026-10-04", SHIFT, "2026-10-03T15:45:00Z"),
    "C.3 before": (LORD_HOWE, "02:15", "2026-10-04", BEFORE, "2026-10-03T15:15:00Z"),
    "C.4 first": (LORD_HOWE, "01:45", "2026-04-05", FIRST, "2026-04-04T14:45:00Z"),
    "C.4 second": (LORD_HOWE, "01:45", "2026-04-05", SECOND, "2026-04-04T15:15:00Z"),
    "C.5 Beirut shift": ("Asia/Beirut", "00:30", "2026-03-29", SHIFT, "2026-03-28T22:30:00Z"),
    "C.5 Beirut before": ("Asia/Beirut", "00:30", "2026-03-29", BEFORE, "2026-03-28T21:30:00Z"),
    "C.5 Cairo shift": ("Africa/Cairo", "00:30", "2026-04-24", SHIFT, "2026-04-23T22:30:00Z"),
    "C.5 Cairo before": ("Africa/Cairo", "00:30", "2026-04-24", BEFORE, "2026-04-23T21:30:00Z"),
    "C.6 shift": ("Europe/London", "01:30", "2026-03-29", SHIFT, "2026-03-29T01:30:00Z"),
    "C.6 before": ("Europe/London", "01:30", "2026-03-29", BEFORE, "2026-03-29T00:30:00Z"),
    "C.6 first": ("Europe/London", "01:30", "2026-10-25", FIRST, "2026-10-25T00:30:00Z"),
    "C.6 second": ("Europe/London", "01:30", "2026-10-25", SECOND, "2026-10-25T01:30:00Z"),
}  # fmt: skip
"""The numbered examples of odd nights: zone, time, date, policy, and instants."""


@pytest.mark.parametrize(
    ("timezone", "time", "day", "policy", "expected"), ODD_NIGHTS.values(), ids=ODD_NIGHTS
)
def test_a_policy_decides_on_the_odd_night(
    timezone: str, time: str, day: str, policy: DaylightSaving, expected: str
) -> None:
    found = by_policy(timezone, policy, time)
    assert on(found, day) == expected.split()
    if policy in (SHIFT, FIRST):
        assert on(by_policy(timezone, None, time), day) == expected.split()


def test_c1_skip_has_a_cause() -> None:
    found = by_policy(NEW_YORK, SKIP, "02:30")
    event = event_at(found, "2026-03-08T07:30Z")
    assert event.local == at("2026-03-08T02:30")
    assert gap_cause(found, event) == "skipped: 02:30 does not exist on 2026-03-08"
    following = found.event_following(event)
    assert following == TimedEvent(FIRE, at("2026-03-09T06:30Z"), at("2026-03-09T02:30"))
    assert gap_cause(found, following) is None
    for other in (None, SHIFT, BEFORE):
        assert gap_cause(found._replace(dst=other), event) is None
    seconds = by_policy(NEW_YORK, SKIP, "02:30:05")
    cause = gap_cause(seconds, event_at(seconds, "2026-03-08T07:30:05Z"))
    assert cause == "skipped: 02:30:05 does not exist on 2026-03-08"


def test_c5_before_is_the_evening_before() -> None:
    found = by_policy("Asia/Beirut", BEFORE, "00:30")
    event = found.event_after(at("2026-03-28T21:29Z"))
    assert event == TimedEvent(FIRE, at("2026-03-28T21:30Z"), at("2026-03-29T00:30"))
    following = found.event_following(event)
    assert following == TimedEvent(FIRE, at("2026-03-29T21:30Z"), at("2026-03-30T00:30"))
    assert found.latest_fire(at("2026-03-28T21:30Z")) == event


def test_c7_both_on_a_weekday() -> None:
    found = by_policy(
        NEW_YORK, BOTH, "01:30", frequency=Frequency.WEEKLY, weekdays=(7,), start="2026-10-20T00:00"
    )
    assert chain(found, 4) == [
        (FIRE, "2026-10-25T05:30"),
        (FIRE, "2026-11-01T05:30"),
        (FIRE, "2026-11-01T06:30"),
        (FIRE, "2026-11-08T06:30"),
    ]


def test_c8_both_in_a_whole_year() -> None:
    found = by_policy(NEW_YORK, BOTH, "01:30")._replace(ends_at=at("2026-12-31T23:59-05:00"))
    first = event_at(found, "2026-01-01T06:30Z")
    last = found.latest_fire(at("2030-01-01T00:00Z"))
    assert last is not None
    assert found.count_fires(first, last) == 366
    assert len(found.occurrences(first.at - timedelta(hours=1), 1000)) == 366
    assert found._replace(dst=FIRST).count_fires(first, last) == 365


@pytest.mark.parametrize("policy", [FIRST, BOTH])
def test_c9_an_anchor_with_an_offset_means_its_pass_once(policy: DaylightSaving) -> None:
    found = by_policy(NEW_YORK, policy, "01:30", start="2026-11-01T01:30:00-05:00")
    assert chain(found, 2) == [(FIRE, "2026-11-01T06:30"), (FIRE, "2026-11-02T06:30")]
    assert found.occurrences(at("2026-01-01T00:00Z"), 1) == [at("2026-11-01T06:30Z")]
    assert found.latest_fire(at("2026-11-01T05:30Z")) is None


def test_c11_a_start_between_the_passes_finds_the_second() -> None:
    found = by_policy(NEW_YORK, BOTH, "01:30")
    event = found.event_after(at("2026-11-01T06:15Z"))
    assert event == TimedEvent(FIRE, at("2026-11-01T06:30Z"), at("2026-11-01T01:30"))


def test_c12_another_zone_does_not_repeat_a_local_date() -> None:
    first = event_at(by_policy(NEW_YORK, BOTH, "01:30"), "2026-11-01T05:30Z")
    edited = by_policy("UTC", BOTH, "01:30")
    following = edited.event_following(first)
    assert following is not None
    assert following.at == at("2026-11-02T01:30:00Z")
    # In Los Angeles the first pass of the same wall-clock time is still ahead.
    western = by_policy("America/Los_Angeles", BOTH, "01:30").event_following(first)
    assert western is not None
    assert western.local == at("2026-11-02T01:30")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, "2026-11-01T05:30"),
        (SECOND, "2026-11-01T06:30"),
        (BOTH, "2026-11-01T05:30"),
    ],
)
def test_a_naive_start_is_read_by_the_policy_and_never_doubled(
    policy: DaylightSaving | None, expected: str
) -> None:
    found = by_policy(NEW_YORK, policy, "01:30", start="2026-11-01T01:30")
    assert chain(found, 2) == [(FIRE, expected), (FIRE, "2026-11-02T06:30")]


@pytest.mark.parametrize(
    ("policy", "expected"), [(None, "07:30"), (BEFORE, "06:30"), (SKIP, "07:30")]
)
def test_a_naive_start_in_a_gap_is_read_by_the_policy(
    policy: DaylightSaving | None, expected: str
) -> None:
    found = by_policy(NEW_YORK, policy, "02:30", start="2026-03-08T02:30")
    assert chain(found, 2) == [(FIRE, f"2026-03-08T{expected}"), (FIRE, "2026-03-09T06:30")]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-10-31T12:00Z", ["2026-11-01T05:30", "2026-11-01T06:30", "2026-11-02T06:30"]),
        ("2026-11-01T05:30Z", ["2026-11-01T06:30", "2026-11-02T06:30"]),
        ("2026-11-01T06:30Z", ["2026-11-02T06:30", "2026-11-03T06:30"]),
    ],
)
def test_both_without_a_start_begins_with_the_next_pass(now: str, expected: list[str]) -> None:
    found = by_policy(NEW_YORK, BOTH, "01:30", now=at(now))
    assert chain(found, len(expected)) == [(FIRE, instant) for instant in expected]
    # Only a first pass needs another anchor than the first occurrence.
    assert (found.anchor_at == found.begins_at) is (expected[0] != "2026-11-01T05:30")
    again = by_policy(NEW_YORK, BOTH, "01:30", anchor_local=found.anchor_local)
    assert again.occurrences(at(now), 3) == found.occurrences(at(now), 3)


def test_a_start_between_the_passes_begins_with_the_second() -> None:
    found = by_policy(NEW_YORK, BOTH, "01:30", start="2026-11-01T05:45Z")
    assert chain(found, 2) == [(FIRE, "2026-11-01T06:30"), (FIRE, "2026-11-02T06:30")]
    assert found.begins_at == at("2026-11-01T06:30Z")


def test_only_the_same_wall_time_continues_with_the_second_pass() -> None:
    late = event_at(by_policy(NEW_YORK, BOTH, "01:45"), "2026-11-01T05:45Z")
    following = by_policy(NEW_YORK, BOTH, "01:15").event_following(late)
    assert following is not None
    assert following.local == at("2026-11-02T01:15")
    early = event_at(by_policy(NEW_YORK, BOTH, "01:15"), "2026-11-01T05:15Z")
    later = by_policy(NEW_YORK, BOTH, "01:45").event_following(early)
    assert later == late


def test_a_changed_policy_does_not_repeat_a_pass() -> None:
    second = event_at(by_policy(NEW_YORK, SECOND, "01:30"), "2026-11-01T06:30Z")
    for policy in (None, FIRST, SECOND, BOTH):
        following = by_policy(NEW_YORK, policy, "01:30").event_following(second)
        assert following is not None
        assert following.at == at("2026-11-02T06:30Z")


def test_an_end_can_be_between_the_passes() -> None:
    found = by_policy(NEW_YORK, BOTH, "01:30", start="2026-10-31T01:30")
    by_instant = found._replace(ends_at=at("2026-11-01T06:00Z"))
    assert [text for _, text in chain(by_instant)] == ["2026-10-31T05:30", "2026-11-01T05:30"]
    by_date = found._replace(ends_on=date(2026, 11, 1), ends_at=at("2026-11-02T04:59:59.999999Z"))
    assert [text for _, text in chain(by_date)][1:] == ["2026-11-01T05:30", "2026-11-01T06:30"]
    last = by_date.latest_fire(at("2027-01-01T00:00Z"))
    assert last is not None
    assert last.at == at("2026-11-01T06:30Z")


def test_daily_window_runs_follow_the_policy_and_continuous_ones_do_not() -> None:
    kind = CampaignType.SEGMENT_TRIGGERED
    body = {"startdate": "2026-10-31T01:30", "enddate": "2026-11-02T01:00", "timezone": NEW_YORK}
    daily = window(kind, **body)._replace(dst=BOTH)
    assert chain(daily) == [
        (OPEN, "2026-10-31T05:30"),
        (FIRE, "2026-10-31T05:30"),
        (FIRE, "2026-11-01T05:30"),
        (FIRE, "2026-11-01T06:30"),
        (CLOSE, "2026-11-02T06:00"),
    ]
    steady = window(kind, **body, recurring_schedule="continuously")
    assert chain(steady._replace(dst=BOTH), 500) == chain(steady, 500)


def test_two_passes_are_one_late_stretch() -> None:
    found = by_policy(NEW_YORK, BOTH, "01:30")
    first = event_at(found, "2026-11-01T05:30Z")
    late = decide(found._replace(misfire_grace_time=7200), first, at("2026-11-01T06:40Z"))
    assert [event.at for event in late.skipped] == [first.at]
    assert late.fire is not None
    assert late.fire.at == at("2026-11-01T06:30Z")
    many = decide(found, first, at("2027-11-30T00:00Z"))
    assert many.bulk_missed is not None
    # 395 dates from 1 November to 30 November of the next year, two of which have two passes.
    assert many.bulk_missed.count == 396


def test_a_day_that_never_was_is_left_to_the_next_date() -> None:
    # Pacific/Apia had no 30 December 2011.
    for policy in (SHIFT, SKIP):
        found = by_policy("Pacific/Apia", policy, "10:00", start="2011-12-28T10:00")
        assert [text for _, text in chain(found, 4)] == [
            "2011-12-28T20:00", "2011-12-29T20:00", "2011-12-30T20:00", "2011-12-31T20:00",
        ]  # fmt: skip
        assert gap_cause(found, event_at(found, "2011-12-30T20:00Z")) is None
    before = by_policy("Pacific/Apia", BEFORE, "10:00", start="2011-12-28T10:00")
    assert before.occurrences(at("2011-01-01T00:00Z"), 4) == found.occurrences(
        at("2011-01-01T00:00Z"), 4
    )
    # On Fridays alone nothing else has that instant.
    friday = by_policy(
        "Pacific/Apia", SKIP, "10:00", frequency=Frequency.WEEKLY, weekdays=(5,),
        start="2011-12-01T10:00",
    )  # fmt: skip
    cause = gap_cause(friday, event_at(friday, "2011-12-30T20:00Z"))
    assert cause == "skipped: 10:00 does not exist on 2011-12-30"
    # Nor where the recurrence ends with the day that never was.
    ended = found._replace(dst=SKIP, ends_on=date(2011, 12, 30), ends_at=at("2011-12-31T09:59Z"))
    assert gap_cause(ended, event_at(ended, "2011-12-30T20:00Z")) is not None


def test_there_is_no_rfc_5545_text_for_a_policy() -> None:
    assert rrule_text(by_policy(NEW_YORK, None, "09:00")) is not None
    for policy in (BEFORE, SKIP, SECOND, BOTH):
        assert rrule_text(by_policy(NEW_YORK, policy, "09:00")) is None


@pytest.mark.parametrize("timezone", [NEW_YORK, "Asia/Tokyo"])
def test_the_calendar_ends_without_an_exception(timezone: str) -> None:
    found = by_policy(timezone, BOTH, "22:00", start="9999-11-01T22:00")
    events = chain(found, 100)
    assert 0 < len(events) < 100
    assert events[-1][1] < "9999-12-31T24"
    assert found.occurrences(at("2000-01-01T00:00Z"), 100) == [at(f"{text}Z") for _, text in events]


def test_the_default_policy_takes_the_shorter_way(monkeypatch: pytest.MonkeyPatch) -> None:
    found = by_policy(NEW_YORK, None, "02:30")
    assert found.dst is None
    assert by_policy(NEW_YORK, DEFAULT, "02:30").occurrences(
        at("2026-01-01T00:00Z"), 400
    ) == found.occurrences(at("2026-01-01T00:00Z"), 400)

    def refuse(*_: object) -> None:
        raise AssertionError("the policy was asked")

    monkeypatch.setattr(schedule_module, "fires_from", refuse)
    monkeypatch.setattr(schedule_module, "is_first_pass", refuse)
    event = found.event_after(at("2026-03-01T00:00Z"))
    assert event is not None
    assert found.event_following(event) is not None
    assert len(found.occurrences(event.at, 400)) == 400
