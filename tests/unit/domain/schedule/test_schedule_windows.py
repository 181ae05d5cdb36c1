"""Windows and one-offs: OPEN, FIRE and CLOSE in order."""

from __future__ import annotations

import pytest

from daemon.domain.schedule.schedule import (
    CampaignType,
    EventKind,
    Kind,
    TimedEvent,
)
from tests.unit.domain.schedule.schedules import (
    CLOSE,
    FIRE,
    NOW,
    OPEN,
    at,
    chain,
    saved,
    text,
    window,
)


def test_a_daily_window_opens_then_fires_then_closes() -> None:
    found = window(
        CampaignType.SEGMENT_TRIGGERED, startdate="2026-01-01T09:00Z", enddate="2026-01-03T09:00Z"
    )
    expected = [
        (OPEN, "2026-01-01T09:00"),
        (FIRE, "2026-01-01T09:00"),
        (FIRE, "2026-01-02T09:00"),
        (FIRE, "2026-01-03T09:00"),
        (CLOSE, "2026-01-03T09:00"),
    ]
    assert chain(found) == expected
    assert found.has_fires


def test_a_continuous_window_counts_elapsed_time() -> None:
    found = window(
        CampaignType.SEGMENT_TRIGGERED,
        startdate="2026-03-08T06:50Z",
        enddate="2026-03-08T07:01:00Z",
        timezone="America/New_York",
        recurring_schedule="continuously",
    )
    assert chain(found) == [
        (OPEN, "2026-03-08T06:50"),
        (FIRE, "2026-03-08T06:50"),
        (FIRE, "2026-03-08T06:55"),
        (FIRE, "2026-03-08T07:00"),
        (CLOSE, "2026-03-08T07:01"),
    ]
    locals_ = [found.event_after(at(f"2026-03-08T06:{minute}Z")) for minute in (52, 58)]
    assert [event.local for event in locals_ if event] == [
        at("2026-03-08T01:55"),
        at("2026-03-08T03:00"),
    ]
    assert found.occurrences(at("2026-03-08T06:50Z"), 9) == [
        at("2026-03-08T06:55Z"),
        at("2026-03-08T07:00Z"),
    ]
    assert found.occurrences(at("2026-03-08T07:00Z"), 9) == []


@pytest.mark.parametrize("kind", [CampaignType.EVENT_TRIGGERED, CampaignType.LIVE_CONTENT])
def test_other_windows_have_two_events(kind: CampaignType) -> None:
    found = window(kind, startdate="2026-01-01T09:00Z", enddate="2026-01-03T09:00Z")
    assert chain(found) == [(OPEN, "2026-01-01T09:00"), (CLOSE, "2026-01-03T09:00")]
    assert found.occurrences(NOW, 5) == []
    assert not found.has_fires
    assert found.latest_fire(at("2026-01-02T00:00Z")) is None
    endless = window(kind, startdate="2026-01-01T09:00Z")
    assert chain(endless) == [(OPEN, "2026-01-01T09:00")]
    assert endless.event_after(at("2026-01-01T09:00Z")) is None


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2026-01-01T08:59:59.999999Z", (OPEN, "2026-01-01T09:00")),
        ("2026-01-01T09:00Z", (FIRE, "2026-01-02T09:00")),
        ("2026-01-02T08:59Z", (FIRE, "2026-01-02T09:00")),
        ("2026-01-02T09:00Z", (CLOSE, "2026-01-02T18:00")),
        ("2026-01-02T18:00Z", None),
    ],
)
def test_event_after_an_instant_in_a_window(
    instant: str, expected: tuple[EventKind, str] | None
) -> None:
    found = window(
        CampaignType.SEGMENT_TRIGGERED, startdate="2026-01-01T09:00Z", enddate="2026-01-02T18:00Z"
    )
    event = found.event_after(at(instant))
    assert (event and (event.kind, text(event.at))) == expected


def test_a_one_off_has_one_event() -> None:
    found = saved({"schedule_type": "scheduled", "scheduled_at": "2026-01-01T09:00Z"})
    only = TimedEvent(FIRE, at("2026-01-01T09:00Z"), at("2026-01-01T09:00"))
    assert found.kind is Kind.ONCE
    assert found.first_event() == only
    assert found.event_after(at("2026-01-01T08:59Z")) == only
    assert found.event_after(only.at) is None
    assert found.event_following(only) is None
    assert found.occurrences(NOW, 5) == [only.at]
    assert (found.latest_fire(only.at), found.latest_fire(NOW)) == (only, None)
    assert found.begins_at == only.at
