"""The coming occurrences that a clock change affects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from daemon.domain.requests.notes import affected_by_clock_changes
from daemon.domain.schedule.clock_changes import clock_changes
from daemon.domain.schedule.daylight_saving import DaylightSaving, Fold, Gap
from daemon.domain.schedule.dst_affected import Affected, dst_affected, gap_cause
from daemon.domain.schedule.recurrence import Frequency
from daemon.domain.schedule.schedule import CampaignType, Schedule
from tests.unit.domain.schedule.schedules import at, by_policy, saved, window

NEW_YORK = "America/New_York"
FEBRUARY = at("2026-02-01T00:00Z")
SKIP, BOTH = DaylightSaving(gap=Gap.SKIP), DaylightSaving(fold=Fold.BOTH)


def daily(time: str, policy: DaylightSaving | None = None, timezone: str = NEW_YORK) -> Schedule:
    return by_policy(timezone, policy, time, now=FEBRUARY)


def once(scheduled_at: str) -> Schedule:
    return saved({"schedule_type": "scheduled", "scheduled_at": scheduled_at}, NEW_YORK)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (
            "02:30",
            [
                {
                    "local": "2026-03-08T02:30:00",
                    "kind": "gap",
                    "policy": "shift",
                    "at": ["2026-03-08T07:30:00Z"],
                }
            ],
        ),
        (
            "01:30",
            [
                {
                    "local": "2026-11-01T01:30:00",
                    "kind": "fold",
                    "policy": "first",
                    "at": ["2026-11-01T05:30:00Z"],
                }
            ],
        ),
        ("09:00", []),
    ],
    ids=["C.10 gap", "C.10 fold", "C.10 absent"],
)
def test_a_save_names_the_odd_night(time: str, expected: list[dict[str, object]]) -> None:
    assert affected_by_clock_changes(daily(time), FEBRUARY) == expected


def test_a_policy_names_what_is_sent() -> None:
    (gap,) = dst_affected(daily("02:30", SKIP), FEBRUARY)
    assert gap == Affected(at("2026-03-08T02:30"), Gap.SKIP, ())
    (fold,) = dst_affected(daily("01:30", BOTH), FEBRUARY)
    assert fold == Affected(
        at("2026-11-01T01:30"), Fold.BOTH, (at("2026-11-01T05:30Z"), at("2026-11-01T06:30Z"))
    )


def test_only_what_is_to_come_within_366_days_counts() -> None:
    shifted = at("2026-03-08T07:30Z")
    found = by_policy(NEW_YORK, None, "02:30")
    assert dst_affected(found, shifted - timedelta(microseconds=1))[0].at == (shifted,)
    assert dst_affected(found, shifted) == []
    assert len(dst_affected(found, shifted - timedelta(days=366))) == 2
    assert len(dst_affected(found, shifted - timedelta(days=366, microseconds=1))) == 1
    (fold,) = dst_affected(daily("01:30", BOTH), at("2026-11-01T06:00Z"))
    assert fold.at == (at("2026-11-01T06:30Z"),)


def test_an_end_a_weekday_and_an_anchor_count() -> None:
    assert dst_affected(daily("02:30")._replace(ends_at=at("2026-03-08T07:00Z")), FEBRUARY) == []
    weekly = by_policy(
        NEW_YORK, None, "02:30", now=FEBRUARY, frequency=Frequency.WEEKLY, weekdays=(1, 6)
    )
    assert dst_affected(weekly, FEBRUARY) == []
    anchored = by_policy(NEW_YORK, BOTH, "01:30", start="2026-11-01T01:30:00-05:00")
    (fold,) = dst_affected(anchored, FEBRUARY)
    assert fold.at == (at("2026-11-01T06:30Z"),)


def test_one_offs_and_daily_windows_count_and_continuous_ones_do_not() -> None:
    assert dst_affected(once("2026-03-08T02:30"), FEBRUARY) == [
        Affected(at("2026-03-08T02:30"), Gap.SHIFT, (at("2026-03-08T07:30Z"),))
    ]
    assert dst_affected(once("2026-03-08T03:30"), FEBRUARY) == []
    body = {"startdate": "2026-03-01T02:30", "enddate": "2026-04-01T00:00", "timezone": NEW_YORK}
    assert len(dst_affected(window(CampaignType.SEGMENT_TRIGGERED, **body), FEBRUARY)) == 1
    steady = window(CampaignType.SEGMENT_TRIGGERED, **body, recurring_schedule="continuously")
    assert dst_affected(steady, FEBRUARY) == []
    steady = steady._replace(dst=SKIP)
    event = steady.event_after(at("2026-03-08T07:00Z"))
    assert event is not None
    assert gap_cause(steady, event) is None
    assert dst_affected(window(CampaignType.LIVE_CONTENT, **body), FEBRUARY) == []


def test_at_most_ten_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.domain.schedule.dst_affected.AHEAD", timedelta(days=9000))
    assert len(dst_affected(daily("02:30"), FEBRUARY)) == 10


def test_the_calendar_ends_without_an_exception() -> None:
    found = daily("02:30")
    for instant in (datetime.min, datetime.max, datetime(9998, 12, 31), datetime(1, 1, 3)):  # noqa: DTZ001, DTZ901
        dst_affected(found, instant.replace(tzinfo=UTC))


def test_clock_changes_are_exact() -> None:
    changes = [*clock_changes(NEW_YORK, FEBRUARY, at("2026-11-01T06:00Z"))]
    assert [(change.at, change.is_gap) for change in changes] == [
        (at("2026-03-08T07:00Z"), True),
        (at("2026-11-01T06:00Z"), False),
    ]
    assert (changes[0].start, changes[0].end) == (at("2026-03-08T02:00"), at("2026-03-08T03:00"))
    assert (changes[1].start, changes[1].end) == (at("2026-11-01T01:00"), at("2026-11-01T02:00"))
    assert [*clock_changes(NEW_YORK, changes[1].at, at("2026-12-31T00:00Z"))] == []
    # Between two years, and by an offset that is no whole minute.
    low, high = at("1911-12-31T23:59:59Z"), at("1912-01-01T00:00Z")
    (lisbon,) = clock_changes("Europe/Lisbon", low, high)
    assert (lisbon.at, lisbon.is_gap) == (high, True)
    assert (lisbon.start, lisbon.end) == (at("1911-12-31T23:23:15"), at("1912-01-01T00:00"))
