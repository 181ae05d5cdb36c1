"""The `schedule` body (seed save-campaign-schedule; semantics section 2) to a schedule."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from typing import Any, NamedTuple

from daemon.domain.errors import IN_THE_PAST, INVALID_CONFIGURATION, InvalidInput
from daemon.domain.requests.context import (
    EXTRAS,
    Context,
    Extras,
    Past,
    Saved,
    keep_extras,
    read_extras,
    without_nulls,
)
from daemon.domain.requests.datetimes import end_of_day, settle
from daemon.domain.requests.fields import (
    BLANK,
    Faults,
    invalid,
    read_array,
    read_choice,
    read_datetime,
    read_end_date,
    read_integer,
    read_object,
    read_zone,
    shown,
)
from daemon.domain.schedule.dtstart import Pattern, begin_after, begin_at
from daemon.domain.schedule.recurrence import Frequency, Skip
from daemon.domain.schedule.schedule import CampaignType, Kind, Overlap, Schedule, ScheduleSource
from daemon.domain.schedule.timezones import zone

FIELDS = frozenset({"schedule_type", "scheduled_at", "timezone", "recurring_config", *EXTRAS})
CONFIG_FIELDS = frozenset(
    {
        "frequency",
        "interval",
        "days_of_week",
        "day_of_month",
        "time",
        "time_zone",
        "end_date",
        "skip",
    }
)
_TYPES = ("immediate", "scheduled", "recurring")
_FREQUENCIES = {frequency.value: frequency for frequency in Frequency}
_SKIPS = {skip.value: skip for skip in Skip}
_time_of_day = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])").fullmatch


class _Config(NamedTuple):
    """recurring_config as read; None where absent. Weekdays are sorted ISO numbers."""

    frequency: Frequency
    interval: int
    weekdays: tuple[int, ...]
    month_day: int | None
    time: time | None
    timezone: str | None
    end: datetime | date | None
    skip: Skip


def save_schedule(body: object, ctx: Context) -> Saved:
    """What a `schedule` body asks for; InvalidInput (400) when it cannot be used.

    Replaces the whole schedule; only the three extension fields are kept from the current one.
    """
    if not isinstance(body, dict):
        raise invalid(
            400, INVALID_CONFIGURATION, {"body": [f"is {shown(body)}, must be an object"]}
        )
    faults = Faults()
    faults.unknown(body, FIELDS)
    schedule_type = read_choice(faults, "schedule_type", body.get("schedule_type"), _TYPES)
    if schedule_type is None and "schedule_type" not in faults:
        faults.malformed("schedule_type", BLANK)
    at = read_datetime(faults, "scheduled_at", body.get("scheduled_at"))
    timezone = read_zone(faults, "timezone", body.get("timezone"))
    extras = read_extras(faults, body)
    config = None
    if schedule_type == "recurring":
        config = _read_config(faults, body.get("recurring_config"))
    elif schedule_type == "scheduled" and at is None and "scheduled_at" not in faults:
        faults.malformed("scheduled_at", BLANK)
    if faults:
        raise faults.error(INVALID_CONFIGURATION)

    stored = without_nulls(body)
    if schedule_type != "recurring":
        # Unread, so it may hold anything, even what the database cannot.
        stored.pop("recurring_config", None)
    if schedule_type == "immediate":
        return Saved(None, ctx.campaign_type, ScheduleSource.SCHEDULE, stored)
    if ctx.campaign_type.is_window:
        raise _wrong(
            "schedule_type",
            f"is {schedule_type}, which a {ctx.campaign_type} campaign cannot have: its window is "
            "set with update_schedule",
        )
    if config is not None:
        timezone = config.timezone or timezone
        stored["recurring_config"] = without_nulls(body["recurring_config"])
    timezone = timezone or ctx.campaign_timezone
    start = None
    if at is not None:
        start = _start(at, timezone, body["scheduled_at"], config is not None, ctx)
    if config is not None:
        schedule = _recurring(config, timezone, start, extras, ctx)
        campaign_type = CampaignType.RECURRING
    else:
        assert start is not None
        schedule = _schedule(Kind.ONCE, timezone, start, extras, ctx)
        campaign_type = CampaignType.ONE_TIME
    return Saved(schedule, campaign_type, ScheduleSource.SCHEDULE, keep_extras(stored, ctx))


def _read_config(faults: Faults, value: object) -> _Config | None:
    config = read_object(faults, "recurring_config", value)
    if config is None:
        if value is None:
            faults.malformed("recurring_config", BLANK)
        return None
    faults.unknown(config, CONFIG_FIELDS, "recurring_config.")
    get = config.get
    frequency = read_choice(faults, "recurring_config.frequency", get("frequency"), _FREQUENCIES)
    if frequency is None and "recurring_config.frequency" not in faults:
        faults.malformed("recurring_config.frequency", BLANK)
    interval = read_integer(faults, "recurring_config.interval", get("interval"), 1, 999)
    weekdays = _read_weekdays(faults, "recurring_config.days_of_week", get("days_of_week"))
    day = read_integer(faults, "recurring_config.day_of_month", get("day_of_month"), 1, 31)
    time_of_day = _read_time(faults, "recurring_config.time", get("time"))
    timezone = read_zone(faults, "recurring_config.time_zone", get("time_zone"))
    end = read_end_date(faults, "recurring_config.end_date", get("end_date"))
    skip = read_choice(faults, "recurring_config.skip", get("skip"), _SKIPS)
    if frequency is None:
        return None
    return _Config(
        _FREQUENCIES[frequency],
        interval or 1,
        weekdays,
        day,
        time_of_day,
        timezone,
        end,
        Skip.BACKWARD if skip is None else _SKIPS[skip],
    )


def _read_weekdays(faults: Faults, path: str, value: object) -> tuple[int, ...]:
    days = read_array(faults, path, value, "weekdays 1 to 7, Monday is 1")
    if days is None:
        return ()
    if not days:
        faults.malformed(path, "is empty, must name at least one weekday from 1 (Monday) to 7")
    elif not all(type(day) is int and 1 <= day <= 7 for day in days):
        faults.malformed(path, f"is {shown(days)}, must hold weekdays 1 to 7, Monday is 1")
    else:
        return tuple(sorted(set(days)))
    return ()


def _read_time(faults: Faults, path: str, value: object) -> time | None:
    if value is None:
        return None
    written = _time_of_day(value) if isinstance(value, str) else None
    if written is None:
        faults.malformed(path, f"is {shown(value)}, must be HH:MM from 00:00 to 23:59")
        return None
    return time(int(written[1]), int(written[2]))


def _start(
    at: datetime, timezone: str, written: str, recurs: bool, ctx: Context
) -> tuple[datetime, datetime]:
    try:
        start = settle(at, zone(timezone))
    except OverflowError:
        raise _out_of_range("scheduled_at", written) from None
    over = start[0] <= ctx.now
    if over and (ctx.past is Past.REFUSE or (ctx.past is Past.RECURRENCES and not recurs)):
        text = f"is {shown(written)}, must be after {ctx.now.isoformat()}"
        raise invalid(400, IN_THE_PAST, {"scheduled_at": [text]})
    return start


def _recurring(
    config: _Config,
    timezone: str,
    start: tuple[datetime, datetime] | None,
    extras: Extras,
    ctx: Context,
) -> Schedule:
    pattern = _pattern(config, start)
    ends_at = ends_on = None
    if isinstance(config.end, datetime):
        try:
            ends_at = settle(config.end, zone(timezone))[0]
        except OverflowError:
            raise _out_of_range("recurring_config.end_date", config.end.isoformat()) from None
    elif config.end is not None:
        ends_on = config.end
        ends_at = end_of_day(ends_on, zone(timezone))
    if start is not None:
        beginning = begin_at(pattern, timezone, *start)
    elif ctx.anchor is not None:
        try:
            again = settle(ctx.anchor.replace(tzinfo=None, fold=0), zone(timezone))
        except OverflowError:
            raise _out_of_range("anchor", ctx.anchor.isoformat()) from None
        beginning = begin_at(pattern, timezone, *again)
    else:
        beginning = begin_after(pattern, timezone, ctx.now)
    if beginning is not None:
        schedule = _schedule(
            Kind.RECURRING,
            timezone,
            start or (beginning.at, beginning.local),
            extras,
            ctx,
            rule=beginning.rule,
            ends_at=ends_at,
            ends_on=ends_on,
        )
        if config.end is None or schedule.first_event() is not None:
            return schedule
    if config.end is None:
        raise _wrong("recurring_config", "has no occurrence before the year 10000")
    first = "no occurrence" if beginning is None else f"the first one is {beginning.at.isoformat()}"
    raise _wrong(
        "recurring_config.end_date",
        f"is {config.end.isoformat()}, so the recurrence would never run: {first}",
    )


def _pattern(config: _Config, start: tuple[datetime, datetime] | None) -> Pattern:
    """The recurrence, with what it does not say taken from scheduled_at's wall-clock time."""
    local = None if start is None else start[1]
    faults = Faults()
    time_of_day, weekdays, day = config.time, config.weekdays, None
    if time_of_day is None:
        if local is None:
            faults.malformed("recurring_config.time", f"{BLANK} without scheduled_at")
        else:
            time_of_day = local.time()
    if config.frequency is Frequency.WEEKLY and not weekdays:
        if local is None:
            faults.malformed("recurring_config.days_of_week", f"{BLANK} without scheduled_at")
        else:
            weekdays = (local.isoweekday(),)
    elif config.frequency is Frequency.MONTHLY:
        weekdays = ()
        day = config.month_day
        if day is None:
            if local is None:
                faults.malformed("recurring_config.day_of_month", f"{BLANK} without scheduled_at")
            else:
                day = local.day
    if faults or time_of_day is None:
        raise faults.error(INVALID_CONFIGURATION)
    return Pattern(config.frequency, config.interval, time_of_day, weekdays, day, skip=config.skip)


def _schedule(
    kind: Kind,
    timezone: str,
    start: tuple[datetime, datetime],
    extras: Extras,
    ctx: Context,
    **recurrence: Any,
) -> Schedule:
    before = None if ctx.current is None else ctx.current.schedule
    grace, coalesce, overlap = extras.misfire_grace_time, extras.coalesce, extras.overlap
    if grace is None:
        grace = ctx.misfire_grace_time if before is None else before.misfire_grace_time
    if coalesce is None:
        coalesce = True if before is None else before.coalesce
    if overlap is None:
        overlap = Overlap.SKIP if before is None else before.overlap
    return Schedule(
        source=ScheduleSource.SCHEDULE,
        kind=kind,
        timezone=timezone,
        anchor_at=start[0],
        anchor_local=start[1],
        misfire_grace_time=grace,
        coalesce=coalesce,
        overlap=overlap,
        **recurrence,
    )


def _wrong(path: str, text: str) -> InvalidInput:
    return invalid(400, INVALID_CONFIGURATION, {path: [text]})


def _out_of_range(path: str, written: str) -> InvalidInput:
    return _wrong(path, f"is {shown(written)}, in UTC outside the years 1 to 9999")
