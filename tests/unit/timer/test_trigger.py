"""A schedule as a trigger: in its zone, from its start to its end."""

from __future__ import annotations

from datetime import UTC, datetime

from daemon.domain.schedule.schedule import EventKind, TimedEvent
from daemon.timer.trigger import OnceTrigger, ScheduleTrigger
from tests.support.builders import daily_schedule
from tests.support.clocks import NOON, seconds

DAY = seconds(86400)


def test_the_armed_event_comes_first() -> None:
    schedule = daily_schedule()
    event = schedule.first_event()
    trigger = ScheduleTrigger(schedule, event)
    for now in (NOON - DAY, NOON, NOON + 30 * DAY):
        assert trigger.get_next_fire_time(None, now) == NOON


def test_then_the_first_that_is_still_ahead() -> None:
    schedule = daily_schedule()
    trigger = ScheduleTrigger(schedule, schedule.first_event())
    assert trigger.get_next_fire_time(NOON, NOON) == NOON + DAY
    assert trigger.get_next_fire_time(NOON, NOON + DAY - seconds(1)) == NOON + DAY
    assert trigger.get_next_fire_time(NOON, NOON + 10 * DAY) == NOON + 11 * DAY


def test_it_ends_with_its_schedule() -> None:
    schedule = daily_schedule(end_date="2026-06-02")
    trigger = ScheduleTrigger(schedule, schedule.first_event())
    assert trigger.get_next_fire_time(NOON, NOON) == NOON + DAY
    assert trigger.get_next_fire_time(NOON, NOON + DAY) is None
    assert trigger.get_next_fire_time(NOON, NOON + 30 * DAY) is None


def test_wall_clock_time_holds_across_a_change_of_offset() -> None:
    start = datetime(2026, 3, 28, 1, 30, tzinfo=UTC)  # 02:30 in Berlin, where the next has a gap
    schedule = daily_schedule(start, "Europe/Berlin")
    event = TimedEvent(EventKind.FIRE, start, datetime.fromisoformat("2026-03-28T02:30"))
    trigger = ScheduleTrigger(schedule, event)
    gap = trigger.get_next_fire_time(start, start)
    assert gap == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 03:30 summer time
    following = trigger.get_next_fire_time(start, gap)
    assert following == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_a_trigger_says_what_it_is() -> None:
    schedule = daily_schedule(NOON, "Europe/Berlin")
    trigger = ScheduleTrigger(schedule, schedule.first_event())
    assert str(trigger) == "schedule[recurring, Europe/Berlin]"


def test_one_attempt_is_one_instant() -> None:
    trigger = OnceTrigger(NOON)
    assert trigger.get_next_fire_time(None, NOON + DAY) == NOON
    assert trigger.get_next_fire_time(NOON, NOON) is None
