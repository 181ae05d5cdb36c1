"""Occurrences with their verdicts: order, moves by whole days, cost, and the checks of a save."""

from __future__ import annotations

import random
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from daemon.domain.formatting import utc_text
from daemon.domain.schedule.calendars import Calendar, Closure
from daemon.domain.schedule.daylight_saving import DaylightSaving, Fold, Gap
from daemon.domain.schedule.gate import Gate
from daemon.domain.schedule.gated_occurrences import SaveCheck, check_save, gated_occurrences
from daemon.domain.schedule.schedule import CampaignType, Schedule
from daemon.domain.schedule.send_window import SendWindow
from daemon.domain.schedule.weekly_hours import Opening, weekly_hours
from tests.unit.domain.schedule.gates import (
    HOLD,
    NEXT_WINDOW,
    SEND,
    SKIP,
    closed_on,
    gate,
    hours,
)
from tests.unit.domain.schedule.schedules import ZONES, recurring, saved, window

DAY = timedelta(days=1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CASES = 10_000
NONE_LEFT = SaveCheck("leaves no occurrence within 366 days")


def listed(
    schedule: Schedule, of: Gate | None, count: int, after: datetime = NOW
) -> list[list[str]]:
    return [
        [utc_text(each.scheduled_for), each.disposition.value, utc_text(each.due_at)]
        for each in gated_occurrences(schedule, of, after, count)
    ]


def test_occurrences_are_listed_with_what_becomes_of_them() -> None:
    """An excluded one is listed at its own time, behind one that waits past it."""
    daily = recurring("UTC", "2026-06-01T22:30")
    found = gate(daily, hours=hours("08:00-21:00"), except_dates=(date(2026, 6, 2),))
    assert listed(daily, found, 3) == [
        ["2026-06-01T22:30:00Z", "next_window", "2026-06-03T08:00:00Z"],
        ["2026-06-02T22:30:00Z", "skip", "2026-06-02T22:30:00Z"],
        ["2026-06-03T22:30:00Z", "next_window", "2026-06-04T08:00:00Z"],
    ]
    assert [each.why for each in gated_occurrences(daily, found, NOW, 2)] == [
        "deferred: outside its send window",
        "skipped: excluded date 2026-06-02",
    ]


def test_local_is_what_the_clock_reads() -> None:
    """03:30 for a run of 02:30 in a gap."""
    daily = recurring("America/New_York", "2026-03-07T02:30")
    found = gate(daily, hours=hours("00:00-24:00"))
    night = gated_occurrences(daily, found, datetime(2026, 3, 8, tzinfo=UTC), 1)[0]
    assert night.local.isoformat() == "2026-03-08T03:30:00"
    assert utc_text(night.scheduled_for) == "2026-03-08T07:30:00Z"


def test_only_timed_runs_of_a_window_pass_the_gate() -> None:
    """Opening and closing are no occurrences."""
    days = window(
        CampaignType.SEGMENT_TRIGGERED,
        startdate="2026-06-01T22:30Z",
        enddate="2026-06-03T12:00Z",
        recurring_schedule="daily",
    )
    assert listed(days, gate(days, hours=hours("08:00-21:00")), 9) == [
        ["2026-06-01T22:30:00Z", "next_window", "2026-06-02T08:00:00Z"],
        ["2026-06-02T22:30:00Z", "next_window", "2026-06-03T08:00:00Z"],
    ]


@pytest.mark.parametrize("timezone", ZONES)
def test_closed_dates_move_by_whole_days_as_a_walk_does(timezone: str) -> None:
    """Every day of a year; the walk resolves wall-clock times by zoneinfo."""
    chance = random.Random(timezone)
    year = 2011 if timezone in ("Pacific/Apia", "Asia/Gaza") else 2026
    in_zone, first = ZoneInfo(timezone), date(year, 1, 1)
    closed = {first + chance.randint(0, 364) * DAY for _ in range(60)}
    excluded = {first + chance.randint(0, 364) * DAY for _ in range(10)}
    minute = chance.choice([0, 30, 150, 540, 1410])
    start = f"{year}-01-01T{minute // 60:02}:{minute % 60:02}"
    daily = recurring(timezone, start)
    calendar = Calendar("x", tuple(Closure(day, day) for day in closed))
    found = gate(daily, calendar, except_dates=tuple(sorted(excluded)))

    def instant(day: date) -> datetime:
        local = datetime.combine(day, datetime.fromisoformat(start).time(), in_zone)
        return local.astimezone(UTC)

    expected = []
    for day in (first + number * DAY for number in range(365)):
        if instant(day) == instant(day + DAY):  # a date that the zone left out
            continue
        due, outcome = day, SEND
        if day in excluded:
            outcome = SKIP
        elif day in closed:
            outcome = NEXT_WINDOW
            while due in closed or due in excluded or instant(due) == instant(due + DAY):
                due += DAY
            if due - day > 7 * DAY:
                outcome, due = SKIP, day
        expected.append((instant(day), outcome, instant(due)))
    before = instant(first) - timedelta(microseconds=1)
    got = [
        (each.scheduled_for, each.disposition, each.due_at)
        for each in gated_occurrences(daily, found, before, len(expected))
    ]
    assert got == expected


NIGHTS = recurring("America/New_York", "2026-03-07T02:30")


def test_a_local_time_that_does_not_exist_is_skipped_before_the_gate_is_asked() -> None:
    """Whether the window is open, closed or absent."""
    schedule = NIGHTS._replace(dst=DaylightSaving(gap=Gap.SKIP))
    after, instant = datetime(2026, 3, 8, tzinfo=UTC), "2026-03-08T07:30:00Z"
    for of in (
        None,
        gate(schedule, hours=hours("00:00-24:00")),
        gate(schedule, hours=hours("08:00-09:00"), outside=HOLD),
    ):
        assert listed(schedule, of, 1, after) == [[instant, "skip", instant]]
        found = gated_occurrences(schedule, of, after, 1)[0]
        assert found.why == "skipped: 02:30 does not exist on 2026-03-08"


def test_whole_days_are_resolved_by_the_policy_of_the_schedule() -> None:
    """Moved from a closed date to the night of a clock change."""
    for policy, due_at in (
        (DaylightSaving(gap=Gap.BEFORE), "2026-03-08T06:30:00Z"),
        (DaylightSaving(), "2026-03-08T07:30:00Z"),
    ):
        schedule = NIGHTS._replace(dst=policy)
        of = gate(schedule, Calendar("x", (closed_on("2026-03-07"),)))
        after = datetime(2026, 3, 7, tzinfo=UTC)
        assert listed(schedule, of, 2, after) == [
            ["2026-03-07T07:30:00Z", "next_window", due_at],
            [due_at, "send", due_at],
        ]


def test_both_passes_of_a_closed_night_move() -> None:
    """Each is an occurrence, and both are due on the next day."""
    both = DaylightSaving(fold=Fold.BOTH)
    schedule = recurring("America/New_York", "2026-10-31T01:30")._replace(dst=both)
    of = gate(schedule, Calendar("x", (closed_on("2026-11-01"),)))
    assert listed(schedule, of, 3, datetime(2026, 11, 1, tzinfo=UTC)) == [
        ["2026-11-01T05:30:00Z", "next_window", "2026-11-02T06:30:00Z"],
        ["2026-11-01T06:30:00Z", "next_window", "2026-11-02T06:30:00Z"],
        ["2026-11-02T06:30:00Z", "send", "2026-11-02T06:30:00Z"],
    ]


def random_case(
    chance: random.Random, shared: dict[str, Calendar]
) -> tuple[Schedule, Gate, datetime]:
    timezone = chance.choice(ZONES)
    local = datetime(2026, 1, 1) + timedelta(minutes=chance.randrange(365 * 1440))  # noqa: DTZ001
    if chance.random() < 0.2:
        schedule = window(
            CampaignType.SEGMENT_TRIGGERED,
            startdate=local.isoformat(),
            timezone=timezone,
            recurring_schedule=chance.choice(["daily", "continuously"]),
        )
    else:
        config: dict[str, Any] = {"frequency": chance.choice(["daily", "weekly", "monthly"])}
        config["interval"] = chance.choice([1, 1, 2, 5])
        if chance.random() < 0.3:
            config["end_date"] = (local.date() + chance.randint(1, 400) * DAY).isoformat()
        schedule = recurring(timezone, local.isoformat(), **config)
    openings = [
        Opening(
            tuple(sorted(chance.sample(range(1, 8), chance.randint(1, 7)))),
            *(bound * 15 for bound in chance.sample(range(96), 2)),
        )
        for _ in range(chance.randint(0, 4))
    ]
    of = SendWindow(
        weekly_hours(openings) if openings else None,
        tuple(chance.sample(sorted(shared), chance.randint(0, 3))),
        tuple(sorted({(local + chance.randint(0, 60) * DAY).date() for _ in range(3)})),
        chance.choice([None, chance.choice(ZONES)]),
        chance.choice([NEXT_WINDOW, NEXT_WINDOW, NEXT_WINDOW, HOLD, SKIP]),
        chance.choice([604_800, 604_800, 3600, 31_622_400]),
    )
    return schedule, Gate(schedule, of, shared), schedule.anchor_at - DAY


def random_calendars(chance: random.Random) -> dict[str, Calendar]:
    shared = {}
    for number in range(40):
        closed = []
        for _ in range(chance.choice([1, 20, 1000])):
            start = datetime(2026, 1, 1) + timedelta(hours=chance.randrange(9000))  # noqa: DTZ001
            if chance.random() < 0.5:
                closed.append(Closure(start.date(), start.date(), "day"))
            else:
                closed.append(Closure(start, start + timedelta(hours=chance.randint(1, 30))))
        own_zone = chance.choice([None, chance.choice(ZONES)])
        daytime = hours("07:00-22:00") if chance.random() < 0.3 else None
        shared[f"c{number}"] = Calendar(f"c{number}", tuple(closed), daytime, own_zone)
    return shared


def test_ten_thousand_random_cases_keep_the_rules_in_ten_seconds() -> None:
    """Processor time of this process, so that other load does not count."""
    chance = random.Random(20_262)
    shared = random_calendars(chance)
    cases = [random_case(chance, shared) for _ in range(CASES)]
    began = time.process_time()
    lists = [gated_occurrences(schedule, of, after, 10) for schedule, of, after in cases]
    took = time.process_time() - began
    assert took < 10
    seen = set()
    for (schedule, of, _), occurrences in zip(cases, lists, strict=True):
        seen |= {each.disposition for each in occurrences}
        assert occurrences == sorted(occurrences)
        started = [each for each in occurrences if each.disposition in (SEND, NEXT_WINDOW)]
        dues = [each.due_at for each in started]
        assert dues == sorted(dues)
        for each in started:
            assert of.opening(each.due_at, each.due_at) == each.due_at
            assert (each.due_at > each.scheduled_for) == (each.disposition is NEXT_WINDOW)
            if schedule.ends_at is not None:
                assert each.due_at <= schedule.ends_at
        assert all(each.due_at == each.scheduled_for for each in occurrences if each not in started)
    assert seen == {SEND, NEXT_WINDOW, HOLD, SKIP}


def test_a_recurrence_that_would_send_nothing_is_refused() -> None:
    """Sundays only, and the window is never open on Sundays."""
    sundays = recurring("UTC", "2026-06-07T09:00", frequency="weekly")
    weekdays = hours("08:00-21:00", days=(1, 2, 3))
    assert check_save(sundays, gate(sundays, hours=weekdays, outside=SKIP), NOW) == NONE_LEFT
    assert check_save(sundays, gate(sundays, hours=weekdays, outside=HOLD), NOW) == SaveCheck()
    assert check_save(sundays, gate(sundays, hours=weekdays), NOW) == SaveCheck()


def test_a_gate_that_is_never_open_is_refused_soon() -> None:
    """However long occurrences may wait; a continuous window has half a million a year."""
    never = Calendar("x", hours=hours("08:00-09:00"))
    ticks = saved_window()
    for outside in (NEXT_WINDOW, SKIP):
        of = gate(
            ticks, never, hours=hours("12:00-13:00"), outside=outside, defer_at_most=31_622_400
        )
        began = time.process_time()
        assert check_save(ticks, of, NOW) == NONE_LEFT
        assert time.process_time() - began < 1


def saved_window() -> Schedule:
    return window(
        CampaignType.SEGMENT_TRIGGERED,
        startdate="2026-06-01T00:00Z",
        recurring_schedule="continuously",
    )


def test_waiting_too_long_is_noted() -> None:
    """The window is open on Mondays, an hour may be waited."""
    sundays = recurring("UTC", "2026-06-07T09:00", frequency="weekly")
    of = gate(sundays, hours=hours("08:00-21:00", days=(1,)), defer_at_most=3600)
    assert check_save(sundays, of, NOW) == SaveCheck(
        note="every run would be skipped closed for longer than 3600 s"
    )
    ticks = saved_window()
    brief = gate(ticks, hours=hours("08:00-08:01", days=(1,)), defer_at_most=60)
    assert check_save(ticks, brief, NOW) == SaveCheck()


def test_what_is_sent_later_than_next_is_saved() -> None:
    """A recurrence whose next occurrences are skipped, and one that begins in two years."""
    daily = recurring("UTC", "2026-06-01T09:00")
    closed = Calendar("x", (Closure(date(2026, 6, 1), date(2027, 5, 1)),))
    assert check_save(daily, gate(daily, closed, outside=SKIP), NOW) == SaveCheck()
    forever = Calendar("x", (Closure(date(2026, 6, 1), date(2036, 5, 1)),))
    assert check_save(daily, gate(daily, forever, outside=SKIP), NOW) == NONE_LEFT
    later = recurring("UTC", "2028-06-01T09:00")
    assert check_save(later, gate(later, forever, outside=SKIP), NOW) == SaveCheck()


def test_a_one_off_that_would_be_skipped_is_refused() -> None:
    """The fault names the closure."""
    body = {"schedule_type": "scheduled", "scheduled_at": "2026-07-03T09:00"}
    one = saved(body, "America/New_York")
    holidays = Calendar("us-holidays", (closed_on("2026-07-03", "Independence Day (observed)"),))
    assert check_save(one, gate(one, holidays, outside=SKIP), NOW).fault == (
        "is outside the send window (closed by us-holidays (Independence Day (observed))), "
        "so it would be skipped"
    )
    assert check_save(one, gate(one, holidays), NOW) == SaveCheck()
    excluded = gate(one, except_dates=(date(2026, 7, 3),))
    assert check_save(one, excluded, NOW).fault == (
        "is outside the send window (excluded date 2026-07-03), so it would be skipped"
    )


def test_a_window_without_timed_runs_is_saved_whatever_its_gate() -> None:
    """Its events come from outside."""
    events = window(CampaignType.EVENT_TRIGGERED, startdate="2026-06-01T00:00Z")
    of = gate(events, hours=hours("08:00-08:01", days=(1,)), outside=SKIP)
    assert check_save(events, of, NOW) == SaveCheck()
    assert gated_occurrences(events, of, NOW, 5) == []
