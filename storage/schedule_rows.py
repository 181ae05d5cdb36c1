"""Maps a Schedule to and from the columns of ``schedule_definitions`` and ``armed_timers``."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from daemon.domain.requests import CurrentSchedule, ParsedSchedule
from daemon.domain.requests.daylight_saving import canonical_dst
from daemon.domain.schedule.daylight_saving import DaylightSaving, Fold, Gap
from daemon.domain.schedule.recurrence import Frequency, Rule, Skip
from daemon.domain.schedule.rrule import rrule_text
from daemon.domain.schedule.schedule import (
    EventKind,
    Kind,
    Overlap,
    Schedule,
    ScheduleSource,
    TimedEvent,
)
from daemon.domain.schedule.send_window import Disposition, SendWindow
from daemon.domain.schedule.weekly_hours import WeeklyHours
from daemon.domain.schedule.zone_data import tzdata_version

_TICK = timedelta(microseconds=1)


def schedule_from(row: Any) -> Schedule:
    """Return the Schedule that a row holds; the row may have further columns."""
    rule = None
    if row.frequency is not None:
        rule = Rule(
            Frequency(row.frequency),
            row.repeat_interval,
            row.first_on,
            row.time_of_day,
            tuple(row.weekdays),
            row.month_day,
            row.nth,
            Skip(row.skip),
        )
    return Schedule(
        ScheduleSource(row.source),
        Kind(row.kind),
        row.timezone,
        row.anchor_at,
        row.anchor_local,
        rule,
        row.every_seconds,
        row.ends_at,
        row.ends_on,
        row.misfire_grace_time,
        row.coalesce,
        Overlap(row.overlap),
        *(() if row.conditions is None else _conditions_from(row.conditions)),
    )


def timer_from(row: Any) -> tuple[TimedEvent, datetime | None]:
    """Return the armed event of a row, and when it is due, if that is later than its own time."""
    event = TimedEvent(EventKind(row.event_kind), row.scheduled_for or row.fire_at, row.local)
    return event, None if row.scheduled_for is None else row.fire_at


def timer_columns(event: TimedEvent, due_at: datetime | None) -> dict[str, Any]:
    """Return the columns of ``timers`` for an event, without campaign_id and revision.

    The event is due at ``due_at``, or at its own time when that is None.
    """
    return {
        "fire_at": due_at or event.at,
        "scheduled_for": None if due_at is None else event.at,
        "local": event.local,
        "kind": event.kind,
    }


def calendars_in_use(of: CurrentSchedule | ParsedSchedule | None) -> tuple[str, ...]:
    """Return the names of the calendars that a schedule uses."""
    schedule = None if of is None else of.schedule
    window = None if schedule is None else schedule.send_window
    return () if window is None else window.calendars


def schedule_columns(schedule: Schedule) -> dict[str, Any]:
    """Return the canonical columns of a schedule, without revision, body and source."""
    rule = schedule.rule
    return {
        "kind": schedule.kind,
        "timezone": schedule.timezone,
        "tzdata": tzdata_version(),
        "anchor_at": schedule.anchor_at,
        "anchor_local": schedule.anchor_local,
        "frequency": rule and rule.frequency,
        "repeat_interval": rule and rule.interval,
        "first_on": rule and rule.first_on,
        "time_of_day": rule and rule.time,
        "weekdays": list(rule.weekdays) if rule else None,
        "month_day": rule and rule.month_day,
        "nth": rule and rule.nth,
        "skip": rule and rule.skip,
        "every_seconds": schedule.every_seconds,
        "ends_at": schedule.ends_at,
        "ends_on": schedule.ends_on,
        "misfire_grace_time": schedule.misfire_grace_time,
        "coalesce": schedule.coalesce,
        "overlap": schedule.overlap,
        "rrule": rrule_text(schedule),
        "conditions": conditions_json(schedule),
    }


def armed_from(timer: TimedEvent | None, now: datetime) -> datetime:
    """Return the instant after which a schedule that is armed now owes every occurrence.

    An edit may leave out occurrences before the event that it arms: an earlier one has run on the
    same date.
    """
    return now if timer is None else max(now, timer.at - _TICK)


def conditions_json(schedule: Schedule) -> dict[str, Any] | None:
    """Return the conditions of a schedule as JSON has them; None when all are the default.

    Weekly hours are minutes since Monday 00:00 at which they begin and end.
    """
    if not schedule.has_conditions:
        return None
    found: dict[str, Any] = {}
    if (window := schedule.send_window) is not None:
        found["send_window"] = {
            "open": None if window.hours is None else list(window.hours.bounds),
            "calendars": list(window.calendars),
            "except_dates": [day.isoformat() for day in window.except_dates],
            "timezone": window.timezone,
            "outside": window.outside,
            "defer_at_most": window.defer_at_most,
        }
    if schedule.late is not Disposition.SKIP:
        found["late"] = schedule.late
    if schedule.dst is not None:
        found["dst"] = canonical_dst(schedule.dst)
    return found


def _conditions_from(
    conditions: dict[str, Any],
) -> tuple[DaylightSaving | None, SendWindow | None, Disposition]:
    """Return the last three fields of a Schedule."""
    window, dst = conditions.get("send_window"), conditions.get("dst")
    return (
        None
        if dst is None
        else DaylightSaving(Gap(dst.get("gap", Gap.SHIFT)), Fold(dst.get("fold", Fold.FIRST))),
        None
        if window is None
        else SendWindow(
            None if window["open"] is None else WeeklyHours(tuple(window["open"])),
            tuple(window["calendars"]),
            tuple(map(date.fromisoformat, window["except_dates"])),
            window["timezone"],
            Disposition(window["outside"]),
            window["defer_at_most"],
        ),
        Disposition(conditions.get("late", Disposition.SKIP)),
    )


def definition_row(saved: ParsedSchedule, now: datetime) -> dict[str, Any]:
    """Return a row of ``schedule_definitions``, without campaign_id and revision."""
    if saved.schedule is None:
        raise ValueError("an immediate schedule has no definition")
    return {
        **schedule_columns(saved.schedule),
        "source": saved.source,
        "body": saved.body,
        "saved_at": now,
    }
