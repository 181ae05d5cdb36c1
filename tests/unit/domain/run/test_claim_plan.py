"""Plans: what is put to the claim for an event that is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.domain.campaign.model import latest_start, run_id
from daemon.domain.requests import BodyContext, PastStarts, read_schedule_body, read_update_body
from daemon.domain.run.attempt import ArmedEvent
from daemon.domain.run.claim_plan import ClaimRequest, plan
from daemon.domain.schedule.schedule import CampaignType, EventKind, Schedule, TimedEvent

START = datetime(2026, 1, 1, tzinfo=UTC)
CAMPAIGN = UUID("5c6f3d0a-2f6b-4f0e-8f4e-3c1d2b7a9e55")
MINUTE = timedelta(minutes=1)


def every_minute(**extras: Any) -> Schedule:
    body = {
        "startdate": START.isoformat(),
        "enddate": (START + timedelta(days=2)).isoformat(),
        "recurring_schedule": "continuously",
        **extras,
    }
    ctx = BodyContext(
        START, CampaignType.SEGMENT_TRIGGERED, continuous_interval=60, past=PastStarts.ANY
    )
    found = read_update_body(body, ctx).schedule
    assert found is not None
    return found


def once(grace: int) -> Schedule:
    body = {
        "schedule_type": "scheduled",
        "scheduled_at": START.isoformat(),
        "misfire_grace_time": grace,
    }
    found = read_schedule_body(
        body, BodyContext(START, CampaignType.ONE_TIME, past=PastStarts.ANY)
    ).schedule
    assert found is not None
    return found


def armed(schedule: Schedule, event: TimedEvent | None = None) -> ArmedEvent:
    if event is None:
        event = TimedEvent(EventKind.FIRE, START, START.replace(tzinfo=None))
    return ArmedEvent(7, CAMPAIGN, 3, event, schedule, "log", event.at)


def planned(now: datetime, **extras: Any) -> ClaimRequest:
    return plan(armed(every_minute(**extras)), now)


def test_on_time() -> None:
    found = planned(START)
    assert (found.fire_at, found.start_before) == (START, START + timedelta(hours=1))
    assert found.run_id == uuid5(CAMPAIGN, "2026-01-01T00:00:00.000000Z")
    assert found.next is not None
    assert (found.next.at, found.backlog, found.more) == (START + MINUTE, False, True)
    assert (found.missed_until, found.older, found.bulk) == (None, (), ())


def test_a_clock_that_is_behind_changes_nothing() -> None:
    assert planned(START - timedelta(days=1)) == planned(START)


def test_coalesced_ones_go_along_as_skipped() -> None:
    found = planned(START + 3 * MINUTE)
    assert found.fire_at == START + 3 * MINUTE
    assert [(old.at, old.status) for old in found.older] == [
        (START + number * MINUTE, "skipped") for number in range(3)
    ]
    assert [old.run_id for old in found.older] == [run_id(CAMPAIGN, old.at) for old in found.older]
    assert found.missed_until is None


def test_without_coalesce_the_next_one_waits_though_it_is_due() -> None:
    found = planned(START + 3 * MINUTE, coalesce=False)
    assert (found.fire_at, found.backlog, found.older) == (START, True, ())
    assert found.next is not None
    assert found.next.at == START + MINUTE


def test_the_newest_is_put_to_the_claim_even_if_it_seems_too_late() -> None:
    found = planned(START + timedelta(minutes=3, seconds=30), misfire_grace_time=10)
    assert (found.fire_at, found.start_before) == (
        START + 3 * MINUTE,
        START + 3 * MINUTE + timedelta(seconds=10),
    )
    assert [old.status for old in found.older] == ["missed"] * 3
    assert found.missed_until == START + 2 * MINUTE + timedelta(seconds=10)


def test_missed_ones_are_missed_by_the_server_clock_too() -> None:
    found = planned(START + 200 * MINUTE, misfire_grace_time=600)
    (bulk,) = found.bulk
    assert (bulk.first, bulk.count, bulk.cause) == (START, 190, "missed: too late")
    assert bulk.last == START + 189 * MINUTE
    assert found.missed_until == bulk.last + timedelta(minutes=10)
    every_one = planned(START + timedelta(days=3), misfire_grace_time=600)
    (bulk,) = every_one.bulk
    assert every_one.fire_at == bulk.last == START + timedelta(days=2)
    assert every_one.missed_until == bulk.last + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("kind", "next_kind", "more"),
    [(EventKind.OPEN, EventKind.FIRE, True), (EventKind.CLOSE, None, False)],
)
def test_a_window_has_no_run(kind: EventKind, next_kind: EventKind | None, more: bool) -> None:
    event = TimedEvent(kind, START, START.replace(tzinfo=None))
    found = plan(armed(every_minute(), event), START + timedelta(days=9))
    assert (found.fire_at, found.run_id, found.start_before, found.older) == (None, None, None, ())
    assert (found.next and found.next.kind) == next_kind
    assert (found.more, found.backlog) == (more, False)


def test_a_window_without_an_end_stays_open() -> None:
    body = {"startdate": START.isoformat()}
    ctx = BodyContext(START, CampaignType.EVENT_TRIGGERED, past=PastStarts.ANY)
    schedule = read_update_body(body, ctx).schedule
    event = TimedEvent(EventKind.OPEN, START, START.replace(tzinfo=None))
    found = plan(armed(schedule, event), START)
    assert (found.next, found.more) == (None, True)


def test_a_one_off() -> None:
    found = plan(armed(once(60)), START + timedelta(days=1))
    assert (found.fire_at, found.start_before) == (START, START + MINUTE)
    assert (found.next, found.more, found.backlog) == (None, False, False)


@given(
    st.integers(0, 4000),
    st.integers(1, 100_000),
    st.booleans(),
)
def test_nothing_is_lost_and_nothing_told_twice(minutes: int, grace: int, coalesce: bool) -> None:
    """Every due occurrence is carried out, listed, counted, or still ahead."""
    now = START + minutes * MINUTE
    found = planned(now, misfire_grace_time=grace, coalesce=coalesce)
    newest = min(minutes, 2 * 24 * 60)
    listed = {old.at for old in found.older} | {found.fire_at}
    assert len(listed) == len(found.older) + 1
    counted = sum(bulk.count for bulk in found.bulk)
    also_listed = sum(1 for bulk in found.bulk if bulk.last in listed)
    done = len(listed) + counted - also_listed
    assert found.fire_at == START + (done - 1) * MINUTE
    if found.backlog:
        assert done <= newest
        assert found.next.at == found.fire_at + MINUTE
    else:
        assert done == newest + 1
    assert all(old.at < found.fire_at <= now for old in found.older)


def test_the_last_start_is_within_the_calendar() -> None:
    end = datetime.max.replace(tzinfo=UTC)
    assert latest_start(end, 60) == end


@pytest.mark.parametrize(
    "at",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 2, 3, 4, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
    ],
)
def test_run_ids(at: datetime) -> None:
    name = (
        f"{at.year:04}-{at.month:02}-{at.day:02}"
        f"T{at.hour:02}:{at.minute:02}:{at.second:02}.{at.microsecond:06}Z"
    )
    assert run_id(CAMPAIGN, at) == uuid5(CAMPAIGN, name)
    if at.year > 1:
        eastern = at.astimezone(ZoneInfo("America/St_Johns"))
        assert run_id(CAMPAIGN, eastern) == run_id(CAMPAIGN, at)
