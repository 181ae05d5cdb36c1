"""Maps a Schedule to and from the columns of ``schedule_definitions`` and ``armed_timers``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from daemon.domain.requests import ParsedSchedule
from daemon.domain.schedule.recurrence import Frequency, Rule, Skip
from daemon.domain.schedule.rrule import rrule_text
from daemon.domain.schedule.schedule import Kind, Overlap, Schedule, ScheduleSource, TimedEvent
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
    )


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
    }


def armed_from(timer: TimedEvent | None, now: datetime) -> datetime:
    """Return the instant after which a schedule that is armed now owes every occurrence.

    An edit may leave out occurrences before the event that it arms: an earlier one has run on the
    same date.
    """
    return now if timer is None else max(now, timer.at - _TICK)


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
