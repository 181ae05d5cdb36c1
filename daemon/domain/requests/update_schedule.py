"""The `update_schedule` body (seed update-campaign-schedule; semantics section 3) to a schedule.

A PATCH: the body is laid over what the campaign has (`update_merge`), and the result is read as if
it had been given whole.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from daemon.domain.errors import INVALID_VALUES, InvalidInput
from daemon.domain.requests.context import (
    EXTRAS,
    Context,
    Current,
    Extras,
    Past,
    Saved,
    read_extras,
)
from daemon.domain.requests.datetimes import settle
from daemon.domain.requests.fields import (
    BLANK,
    Faults,
    invalid,
    read_array,
    read_choice,
    read_datetime,
    read_integer,
    read_object,
    read_zone,
    shown,
)
from daemon.domain.requests.merge_patch import WEEKDAYS, merge
from daemon.domain.requests.save_schedule import save_schedule
from daemon.domain.schedule.dtstart import Pattern, begin_at
from daemon.domain.schedule.recurrence import Frequency, Rule
from daemon.domain.schedule.schedule import CampaignType, Kind, Overlap, Schedule, ScheduleSource
from daemon.domain.schedule.timezones import zone

FIELDS = frozenset(
    {
        "startdate",
        "enddate",
        "timezone",
        "recurring_schedule",
        "repeating_schedule_attributes",
        *EXTRAS,
    }
)
ATTRIBUTES = frozenset({"interval_size", "interval_unit", "day_of_month", "days_of_week"})
_FREQUENCIES = {"day": Frequency.DAILY, "week": Frequency.WEEKLY, "month": Frequency.MONTHLY}
_MONTH_DAYS = ("nth_day", "nth_weekday", "last_day")
_RUNS = ("daily", "continuously")
_KINDS = {CampaignType.ONE_TIME: Kind.ONCE, CampaignType.RECURRING: Kind.RECURRING}
# Fields of the other body, by what they are called in this one.
_CALLED_HERE = {
    "scheduled_at": "startdate",
    "recurring_config.end_date": "enddate",
    "timezone": "timezone",
}


class _Attributes(NamedTuple):
    """repeating_schedule_attributes as read, defaults filled in; weekdays are ISO numbers."""

    interval: int = 1
    unit: str = "day"
    weekdays: tuple[int, ...] = ()
    day_of_month: str = "nth_day"


_DEFAULTS = _Attributes()


class _Fields(NamedTuple):
    start: datetime
    end: datetime | None
    timezone: str | None
    runs: str
    attributes: _Attributes
    extras: Extras
    ignored: frozenset[str]
    """Fields that the type does not use, with a value that there is not."""


def update_schedule(body: object, ctx: Context) -> Saved:
    """What an `update_schedule` body asks for, over what the campaign has now.

    InvalidInput: 400 when something is missing or malformed, 422 when it is well-formed but not
    supported; both name the fields.
    """
    if not isinstance(body, dict):
        raise invalid(400, INVALID_VALUES, {"body": [f"is {shown(body)}, must be an object"]})
    given = _read(body, ctx.campaign_type)
    body = {name: value for name, value in body.items() if name not in given.ignored}
    current = ctx.current
    kind = _KINDS.get(ctx.campaign_type, Kind.WINDOW)
    if current is not None and current.schedule.kind is not kind:
        current = None
    merged = merge(body, current, ctx)
    if merged.source is ScheduleSource.SCHEDULE:
        schedule = _read_saved(merged.body, ctx)
    else:
        fields = given if current is None else _read(merged.body, ctx.campaign_type)
        schedule = _settle(fields, merged.body, ctx, kind)
    _check_times(schedule, merged.end, ctx, current, body)
    return Saved(schedule, ctx.campaign_type, merged.source, merged.body)


def _read(body: dict[str, Any], campaign_type: CampaignType) -> _Fields:
    """Every field. One that the type does not use is ignored, but has to be well-formed."""
    faults, unused = Faults(), Faults()
    of_runs = faults if campaign_type is CampaignType.SEGMENT_TRIGGERED else unused
    of_attributes = faults if campaign_type is CampaignType.RECURRING else unused
    faults.unknown(body, FIELDS)
    get = body.get
    start = get("startdate")
    if start is None or start == "":
        faults.malformed("startdate", BLANK)
        start = None
    starts = read_datetime(faults, "startdate", start)
    end = read_datetime(faults, "enddate", get("enddate"))
    timezone = read_zone(faults, "timezone", get("timezone"))
    runs = read_choice(of_runs, "recurring_schedule", get("recurring_schedule"), _RUNS)
    attributes = get("repeating_schedule_attributes")
    extras = read_extras(faults, body)
    read = _DEFAULTS if attributes is None else _read_attributes(of_attributes, attributes)
    ignored = faults.ignoring(unused)
    if faults or starts is None:
        raise faults.error(INVALID_VALUES, 422)
    return _Fields(starts, end, timezone, runs or "daily", read, extras, ignored)


def _read_attributes(faults: Faults, value: object) -> _Attributes:
    path = "repeating_schedule_attributes"
    attributes = read_object(faults, path, value)
    if attributes is None:
        return _DEFAULTS
    path += "."
    faults.unknown(attributes, ATTRIBUTES, path)
    get = attributes.get
    size = read_integer(faults, path + "interval_size", get("interval_size"), 1, 999)
    unit = read_choice(faults, path + "interval_unit", get("interval_unit"), _FREQUENCIES)
    days = _read_days(faults, path + "days_of_week", get("days_of_week"))
    month = read_choice(faults, path + "day_of_month", get("day_of_month"), _MONTH_DAYS)
    return _Attributes(size or 1, unit or "day", days, month or "nth_day")


def _read_days(faults: Faults, path: str, value: object) -> tuple[int, ...]:
    names = read_array(faults, path, value, f"weekdays {', '.join(WEEKDAYS)}")
    if not names:
        return ()
    if not all(isinstance(name, str) for name in names):
        faults.malformed(path, f"is {shown(names)}, must hold names: {', '.join(WEEKDAYS)}")
    elif not all(name in WEEKDAYS for name in names):
        faults.unsupported(path, f"is {shown(names)}, must hold only {', '.join(WEEKDAYS)}")
    else:
        return tuple(sorted({WEEKDAYS.index(name) + 1 for name in names}))
    return ()


def _settle(fields: _Fields, body: dict[str, Any], ctx: Context, kind: Kind) -> Schedule:
    """The schedule of a body read whole; times in the past are judged by the caller."""
    timezone = fields.timezone or ctx.campaign_timezone
    start, local = _instant(fields.start, "startdate", body, timezone)
    ends_at = None
    if fields.end is not None:
        ends_at, _ = _instant(fields.end, "enddate", body, timezone)
        if ends_at <= start:
            raise _not_after("enddate", body["enddate"], body["startdate"])
    rule = every = None
    if kind is Kind.RECURRING:
        rule = _rule(fields.attributes, timezone, start, local)
    elif kind is Kind.ONCE:
        ends_at = None
    elif ctx.campaign_type is CampaignType.SEGMENT_TRIGGERED:
        if fields.runs == "continuously":
            every = ctx.continuous_interval
        else:
            rule = Rule(Frequency.DAILY, 1, local.date(), local.time())
    extras = fields.extras
    grace = extras.misfire_grace_time
    return Schedule(
        source=ScheduleSource.UPDATE_SCHEDULE,
        kind=kind,
        timezone=timezone,
        anchor_at=start,
        anchor_local=local,
        rule=rule,
        every_seconds=every,
        ends_at=ends_at,
        misfire_grace_time=ctx.misfire_grace_time if grace is None else grace,
        coalesce=True if extras.coalesce is None else extras.coalesce,
        overlap=extras.overlap or Overlap.SKIP,
    )


def _rule(attributes: _Attributes, timezone: str, start: datetime, local: datetime) -> Rule:
    frequency = _FREQUENCIES[attributes.unit]
    weekdays, month_day, nth = attributes.weekdays, None, None
    if frequency is Frequency.WEEKLY:
        weekdays = weekdays or (local.isoweekday(),)
    elif frequency is Frequency.MONTHLY:
        if attributes.day_of_month == "nth_weekday":
            weekdays = weekdays or (local.isoweekday(),)
            nth = (local.day - 1) // 7 + 1
        else:
            weekdays = ()
            month_day = 31 if attributes.day_of_month == "last_day" else local.day
    pattern = Pattern(frequency, attributes.interval, local.time(), weekdays, month_day, nth)
    beginning = begin_at(pattern, timezone, start, local)
    if beginning is None:
        raise _unsupported(
            "repeating_schedule_attributes", "has no occurrence before the year 10000"
        )
    return beginning.rule


def _read_saved(body: dict[str, Any], ctx: Context) -> Schedule:
    """The schedule of a merged `schedule` body; what is wrong is told in this body's words."""
    alone = ctx._replace(current=None, anchor=None, past=Past.ANY)
    try:
        schedule = save_schedule(body, alone).schedule
    except InvalidInput as error:
        errors: dict[str, list[str]] = {}
        for path, texts in error.errors.items():
            here = _CALLED_HERE.get(path, "repeating_schedule_attributes")
            errors.setdefault(here, []).extend(texts)
        raise invalid(422, INVALID_VALUES, errors) from error
    assert schedule is not None
    return schedule


def _check_times(
    schedule: Schedule, end: str | None, ctx: Context, current: Current | None, body: dict[str, Any]
) -> None:
    """Refuse an end that is not after the start, a start that is over, and what never runs."""
    if schedule.ends_at is not None and schedule.ends_at <= schedule.anchor_at:
        raise _not_after("enddate", end or schedule.ends_at.isoformat(), body["startdate"])
    recurs = schedule.kind is Kind.RECURRING
    if schedule.anchor_at <= ctx.now and (
        ctx.past is Past.REFUSE or (ctx.past is Past.RECURRENCES and schedule.kind is Kind.ONCE)
    ):
        kept = current is not None and _is_kept(schedule.anchor_at, body["startdate"], current)
        if not kept:
            text = f"is {shown(body['startdate'])}, must be after {ctx.now.isoformat()}"
            raise _unsupported("startdate", text)
    # Without an end, what begins later than now has something to come.
    if recurs and (schedule.ends_at is not None or schedule.anchor_at <= ctx.now):
        to_come = (
            schedule.event_after(ctx.now) if ctx.past is Past.REFUSE else schedule.first_event()
        )
        if to_come is None:
            field = "repeating_schedule_attributes" if schedule.ends_at is None else "enddate"
            raise _unsupported(field, "leaves no occurrence: the recurrence would never run")


def _is_kept(start: datetime, written: str, current: Current) -> bool:
    """Whether startdate is the one that the schedule has: the same instant, or the same text."""
    before = "scheduled_at" if current.source is ScheduleSource.SCHEDULE else "startdate"
    return start == current.schedule.anchor_at or written == current.body.get(before)


def _instant(
    written: datetime, field: str, body: dict[str, Any], timezone: str
) -> tuple[datetime, datetime]:
    try:
        return settle(written, zone(timezone))
    except OverflowError:
        text = f"is {shown(body[field])}, in UTC outside the years 1 to 9999"
        raise _unsupported(field, text) from None


def _not_after(field: str, end: str, start: str) -> InvalidInput:
    return _unsupported(field, f"is {shown(end)}, must be after startdate {shown(start)}")


def _unsupported(field: str, text: str) -> InvalidInput:
    return invalid(422, INVALID_VALUES, {field: [text]})
