"""Late occurrences: grace and coalesce, against a classification one by one."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.domain.requests import BodyContext, PastStarts, read_schedule_body, read_update_body
from daemon.domain.schedule.misfire import LISTED_AT_MOST, Late, Stretch, decide
from daemon.domain.schedule.schedule import CampaignType, EventKind, Schedule, TimedEvent


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


START = at("2026-01-01T00:00Z")


def continuous(every: int, end: str | None = None, **extras: Any) -> Schedule:
    ctx = BodyContext(
        START, CampaignType.SEGMENT_TRIGGERED, continuous_interval=every, past=PastStarts.ANY
    )
    body = {
        "startdate": "2026-01-01T00:00Z",
        "enddate": end,
        "recurring_schedule": "continuously",
        **extras,
    }
    found = read_update_body(body, ctx).schedule
    assert found is not None
    return found


def daily(start: str, **extras: Any) -> Schedule:
    body = {
        "schedule_type": "recurring",
        "scheduled_at": start,
        "timezone": "America/New_York",
        "recurring_config": {"frequency": "daily", **extras.pop("config", {})},
        **extras,
    }
    found = read_schedule_body(
        body, BodyContext(START, CampaignType.RECURRING, past=PastStarts.ANY)
    ).schedule
    assert found is not None
    return found


def first_fire(schedule: Schedule) -> TimedEvent:
    event = schedule.first_event()
    if event is not None and event.kind is EventKind.OPEN:
        event = schedule.event_following(event)
    assert event is not None
    return event


def seconds(late: Late) -> list[Any]:
    """Fire, missed, skipped, next, backlog; events are replaced by seconds since the start."""

    def of(event: TimedEvent | None) -> float | None:
        return None if event is None else (event.at - START).total_seconds()

    missed, skipped = map(of, late.missed), map(of, late.skipped)
    return [of(late.fire), list(missed), list(skipped), of(late.next), late.backlog]


@pytest.mark.parametrize(
    ("now", "extras", "fire", "missed", "skipped", "next_", "backlog"),
    [
        (0, {}, 0, [], [], 100, False),
        (99, {}, 0, [], [], 100, False),
        (100, {}, 100, [], [0], 200, False),
        (250, {}, 200, [], [0, 100], 300, False),
        # Exactly the grace is in time, a microsecond more is not.
        (300, {}, 300, [], [0, 100, 200], 400, False),
        (301, {}, 300, [0], [100, 200], 400, False),
        (520, {}, 500, [0, 100, 200], [300, 400], 600, False),
        (250, {"coalesce": False}, 0, [], [], 100, True),
        (520, {"coalesce": False}, 300, [0, 100, 200], [], 400, True),
        (50, {"coalesce": False}, 0, [], [], 100, False),
        (50, {"misfire_grace_time": 49}, None, [0], [], 100, False),
        (50, {"misfire_grace_time": 50}, 0, [], [], 100, False),
        (390, {"misfire_grace_time": 10}, None, [0, 100, 200, 300], [], 400, False),
        (310, {"misfire_grace_time": 10}, 300, [0, 100, 200], [], 400, False),
    ],
)  # fmt: skip
def test_examples(
    now: float,
    extras: dict[str, Any],
    fire: int | None,
    missed: list[int],
    skipped: list[int],
    next_: int,
    backlog: bool,
) -> None:
    schedule = continuous(100, **{"misfire_grace_time": 300, **extras})
    late = decide(schedule, first_fire(schedule), START + timedelta(seconds=now))
    assert seconds(late) == [fire, missed, skipped, next_, backlog]
    assert (late.bulk_missed, late.bulk_skipped) == (None, None)


def test_a_stretch_ends_before_the_window_closes() -> None:
    schedule = continuous(100, end="2026-01-01T00:05Z", misfire_grace_time=300)
    late = decide(schedule, first_fire(schedule), START + timedelta(seconds=1000))
    assert late.fire is None
    assert [event.at for event in late.missed] == [
        START + timedelta(seconds=number) for number in (0, 100, 200, 300)
    ]
    assert late.next is not None
    assert (late.next.kind, late.next.at) == (EventKind.CLOSE, START + timedelta(seconds=300))
    assert late.backlog


def test_a_one_off_fires_or_is_missed() -> None:
    body = {"schedule_type": "scheduled", "scheduled_at": "2026-01-01T00:10Z"}
    schedule = read_schedule_body(body, BodyContext(START, CampaignType.ONE_TIME)).schedule
    assert schedule is not None
    event = first_fire(schedule)
    grace = timedelta(hours=1)
    assert decide(schedule, event, event.at + grace) == Late(fire=event, next=None)
    late = event.at + grace + timedelta(microseconds=1)
    assert decide(schedule, event, late) == Late(fire=None, next=None, missed=(event,))


@pytest.mark.parametrize(("count", "bulk"), [(LISTED_AT_MOST, False), (LISTED_AT_MOST + 1, True)])
def test_more_than_a_hundred_are_told_by_their_count(count: int, bulk: bool) -> None:
    missing = continuous(100, misfire_grace_time=10)
    first = first_fire(missing)
    last = START + timedelta(seconds=100 * (count - 1))
    late = decide(missing, first, last + timedelta(seconds=50))
    assert late.fire is None
    assert late.bulk_missed == (Stretch(START, last, count) if bulk else None)
    assert (len(late.missed), late.missed[-1].at) == (1 if bulk else count, last)

    coalescing = continuous(100, misfire_grace_time=100_000)
    late = decide(coalescing, first, last + timedelta(seconds=150))
    assert late.fire is not None
    assert late.fire.at == last + timedelta(seconds=100)
    assert late.bulk_skipped == (Stretch(START, last, count) if bulk else None)
    assert (len(late.skipped), late.skipped[-1].at) == (1 if bulk else count, last)


@pytest.mark.parametrize(
    ("schedule", "now"),
    [
        (continuous(1), START + timedelta(days=365)),
        (continuous(1, coalesce=False), START + timedelta(days=365)),
        (daily("1996-01-01T02:30", misfire_grace_time=31_536_000), START),
        (daily("1996-01-01T02:30", config={"frequency": "monthly"}), START),
        (daily("1996-01-01T02:30", config={"days_of_week": [1, 2, 3]}), START),
    ],
    ids=["continuous", "no coalesce", "daily", "monthly", "weekdays"],
)
def test_a_very_late_stretch_is_cheap(schedule: Schedule, now: datetime) -> None:
    first = first_fire(schedule)
    decide(schedule, first, now)
    fastest = 1.0
    for _ in range(5):
        start = time.perf_counter()
        late = decide(schedule, first, now)
        fastest = min(fastest, time.perf_counter() - start)
    assert late.bulk_missed is not None
    assert fastest < 0.05


def one_by_one(schedule: Schedule, event: TimedEvent, now: datetime) -> dict[str, Any]:
    """The rules of docs/semantics.md#runs, applied to a list of all due occurrences."""
    due, following = [event], schedule.event_following(event)
    while following is not None and following.kind is EventKind.FIRE and following.at <= now:
        due.append(following)
        following = schedule.event_following(following)
    grace = timedelta(seconds=schedule.misfire_grace_time)
    missed = [each for each in due if now - each.at > grace]
    fresh = due[len(missed) :]
    if schedule.coalesce:
        fire, skipped = (fresh[-1], fresh[:-1]) if fresh else (None, [])
        return {"fire": fire, "missed": missed, "skipped": skipped, "next": following}
    fire = fresh[0] if fresh else None
    after = fresh[1] if len(fresh) > 1 else following
    return {"fire": fire, "missed": missed, "skipped": [], "next": after}


@settings(max_examples=400)
@given(
    st.sampled_from(
        [
            continuous(60),
            continuous(3600, end="2026-01-03T00:00Z"),
            daily("2025-10-30T01:30"),
            daily("2025-10-30T01:30", config={"end_date": "2026-02-01"}),
            daily("2025-03-07T02:30", config={"frequency": "weekly", "days_of_week": [1, 7]}),
            daily("2025-01-31T23:59", config={"frequency": "monthly"}),
        ]
    ),
    st.booleans(),
    st.integers(1, 40 * 86_400),
    st.integers(0, 80 * 86_400),
    st.integers(0, 3),
)
def test_decisions_agree_with_looking_at_each(
    schedule: Schedule, coalesce: bool, grace: int, late_by: int, steps: int
) -> None:
    schedule = schedule._replace(coalesce=coalesce, misfire_grace_time=grace)
    event = first_fire(schedule)
    for _ in range(steps):
        following = schedule.event_following(event)
        assert following is not None
        event = following
    late = decide(schedule, event, event.at + timedelta(seconds=late_by))
    expected = one_by_one(schedule, event, event.at + timedelta(seconds=late_by))
    assert (late.fire, late.next) == (expected["fire"], expected["next"])
    assert late.backlog == (
        late.next is not None and late.next.at <= event.at + timedelta(seconds=late_by)
    )
    for listed, bulk, all_of_them in (
        (late.missed, late.bulk_missed, expected["missed"]),
        (late.skipped, late.bulk_skipped, expected["skipped"]),
    ):
        if len(all_of_them) > LISTED_AT_MOST:
            assert bulk == Stretch(all_of_them[0].at, all_of_them[-1].at, len(all_of_them))
            assert list(listed) == all_of_them[-1:]
        else:
            assert bulk is None
            assert list(listed) == all_of_them
