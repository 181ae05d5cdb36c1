"""The `update_schedule` body (docs/semantics.md#input-the-update_schedule-body), a PATCH.

The body is merged into the campaign's schedule (`merge_patch`), and the result is read as if it had
been given whole.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from daemon.domain.errors import INVALID_VALUES, InvalidInput
from daemon.domain.requests.conditions import check_conditions
from daemon.domain.requests.context import (
    EXTRAS,
    BodyContext,
    CurrentSchedule,
    ExtensionFields,
    ParsedSchedule,
    PastStarts,
)
from daemon.domain.requests.datetimes import resolve_datetime
from daemon.domain.requests.daylight_saving import skipped_start
from daemon.domain.requests.declaration import Body, declare_field, declare_fields_of
from daemon.domain.requests.fields import (
    Faults,
    invalid_input,
    read_array,
    require_object,
    shown_value,
)
from daemon.domain.requests.forms import (
    DATETIME,
    ZONE,
    Form,
    choice_form,
    empty_as_missing,
    integer_form,
)
from daemon.domain.requests.merge_patch import WEEKDAYS, merge
from daemon.domain.requests.save_schedule import read_schedule_body
from daemon.domain.schedule.daylight_saving import DaylightSaving
from daemon.domain.schedule.dtstart import Pattern, begin_at
from daemon.domain.schedule.recurrence import Frequency, Rule
from daemon.domain.schedule.schedule import CampaignType, Kind, Overlap, Schedule, ScheduleSource
from daemon.domain.schedule.timezones import zone

_FREQUENCIES = {"day": Frequency.DAILY, "week": Frequency.WEEKLY, "month": Frequency.MONTHLY}
_KINDS = {CampaignType.ONE_TIME: Kind.ONCE, CampaignType.RECURRING: Kind.RECURRING}
_NAMES_HERE = {
    "scheduled_at": "startdate",
    "recurring_config.end_date": "enddate",
    "timezone": "timezone",
}
"""Fields of the `schedule` body, and their names in this one."""


def _word_form(*words: str) -> Form[str]:
    return choice_form({word: word for word in words})


def _read_weekday_names(faults: Faults, path: str, value: object) -> tuple[int, ...] | None:
    names = read_array(faults, path, value, f"weekdays {', '.join(WEEKDAYS)}")
    if not names:
        return None
    if not all(isinstance(name, str) for name in names):
        faults.add_malformed(
            path, f"is {shown_value(names)}, must hold names: {', '.join(WEEKDAYS)}"
        )
    elif not all(name in WEEKDAYS for name in names):
        faults.add_unsupported(
            path, f"is {shown_value(names)}, must hold only {', '.join(WEEKDAYS)}"
        )
    else:
        return tuple(sorted({WEEKDAYS.index(name) + 1 for name in names}))
    return None


_WEEKDAY_NAMES = Form(
    _read_weekday_names,
    {"type": "array", "items": {"type": "string", "enum": list(WEEKDAYS)}},
    {"type": "array", "items": {"type": "string"}},
)


class RepeatingAttributes(NamedTuple):
    """The recurrence of a recurring campaign. An absent field stays as it is, null clears it.

    An unsupported value is a 422 for a recurring campaign. Campaigns of other types ignore the
    object.
    """

    interval_size: int = declare_field(integer_form(1, 999), default=1)
    interval_unit: Frequency = declare_field(choice_form(_FREQUENCIES), default=Frequency.DAILY)
    days_of_week: tuple[int, ...] = declare_field(_WEEKDAY_NAMES, default=())
    day_of_month: str = declare_field(
        _word_form("nth_day", "nth_weekday", "last_day"), default="nth_day"
    )


REPEATING_ATTRIBUTES = Body(RepeatingAttributes, patch=True, used_by=CampaignType.RECURRING)


class UpdateSchedule(NamedTuple):
    """A change of a campaign's schedule. An absent field stays as it is, null clears it.

    The read-only fields of a schedule that was read are accepted too, with unchanged values.
    """

    startdate: datetime = declare_field(empty_as_missing(DATETIME), required=True)
    enddate: datetime | None = declare_field(DATETIME, doc="Null: the schedule has no end.")
    timezone: str | None = declare_field(ZONE)
    recurring_schedule: str = declare_field(
        _word_form("daily", "continuously"),
        default="daily",
        used_by=CampaignType.SEGMENT_TRIGGERED,
        doc="How often a segment_triggered campaign runs. Another text is a 422 for such a "
        "campaign. Campaigns of other types ignore the field.",
    )
    extras: ExtensionFields = declare_fields_of(EXTRAS)
    repeating_schedule_attributes: RepeatingAttributes = declare_field(
        REPEATING_ATTRIBUTES,
        default=REPEATING_ATTRIBUTES.absent,
        used_by=CampaignType.RECURRING,
    )


UPDATE_SCHEDULE = Body(UpdateSchedule, patch=True)
_UNUSED = {
    kind: [
        name for name, field in UPDATE_SCHEDULE.fields.items() if field.used_by not in (None, kind)
    ]
    for kind in CampaignType
}
"""The fields that campaigns of each type ignore."""


def read_update_body(body: object, ctx: BodyContext) -> ParsedSchedule:
    """Read an `update_schedule` body, merged into the campaign's schedule.

    Raises:
        InvalidInput: 400 when a field is missing or malformed, 422 when one is unsupported.
    """
    body = require_object(body, INVALID_VALUES)
    given, ignored = _read_fields(body, ctx.campaign_type)
    body = {name: value for name, value in body.items() if name not in ignored}
    current = ctx.current
    kind = _KINDS.get(ctx.campaign_type, Kind.WINDOW)
    if current is not None and current.schedule.kind is not kind:
        current = None
    keeps_start = current is not None and _keeps_start(given, current, body, ctx)
    merged = merge(body, current, ctx, keeps_start=keeps_start)
    if merged.source is ScheduleSource.SCHEDULE:
        schedule = _read_merged_schedule_body(merged.body, ctx)
    else:
        fields = given if current is None else _read_fields(merged.body, ctx.campaign_type)[0]
        schedule = _build_schedule(fields, merged.body, ctx, kind)
    _check_times(schedule, merged.end, ctx, body, keeps_start=keeps_start)
    parsed = ParsedSchedule(schedule, ctx.campaign_type, merged.source, merged.body)
    return check_conditions(parsed, ctx, INVALID_VALUES, "startdate")


def _read_fields(
    body: dict[str, Any], campaign_type: CampaignType
) -> tuple[UpdateSchedule, frozenset[str]]:
    """Read every field, and return the names of unused ones that have an unsupported value."""
    faults, unused = Faults(), Faults()
    elsewhere = dict.fromkeys(_UNUSED[campaign_type], unused)
    fields = UPDATE_SCHEDULE.read_fields(faults, body, elsewhere=elsewhere)
    ignored = faults.add_malformed_of_unused(unused)
    if faults:
        raise faults.to_error(INVALID_VALUES, 422)
    return fields, ignored


def _build_schedule(
    fields: UpdateSchedule, body: dict[str, Any], ctx: BodyContext, kind: Kind
) -> Schedule:
    """Return the schedule of a whole body; the caller refuses times in the past."""
    timezone = fields.timezone or ctx.campaign_timezone
    policy = fields.extras.policy(None)
    start, local = _resolve_instant(fields.startdate, "startdate", body, timezone, policy)
    fault = skipped_start(fields.startdate, timezone, policy)
    if fault is not None and ctx.past is PastStarts.REFUSE:
        raise _unsupported_field("startdate", fault)
    ends_at = None
    if fields.enddate is not None:
        ends_at, _ = _resolve_instant(fields.enddate, "enddate", body, timezone)
        if ends_at <= start:
            raise _end_not_after_start("enddate", body["enddate"], body["startdate"])
    rule = every = None
    if kind is Kind.RECURRING:
        rule = _build_rule(fields.repeating_schedule_attributes, timezone, start, local, policy)
    elif kind is Kind.ONCE:
        ends_at = None
    elif ctx.campaign_type is CampaignType.SEGMENT_TRIGGERED:
        if fields.recurring_schedule == "continuously":
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
        **extras.conditions(None),
    )


def _build_rule(
    attributes: RepeatingAttributes,
    timezone: str,
    start: datetime,
    local: datetime,
    policy: DaylightSaving | None,
) -> Rule:
    frequency = attributes.interval_unit
    weekdays, month_day, nth = attributes.days_of_week, None, None
    if frequency is Frequency.WEEKLY:
        weekdays = weekdays or (local.isoweekday(),)
    elif frequency is Frequency.MONTHLY:
        if attributes.day_of_month == "nth_weekday":
            weekdays = weekdays or (local.isoweekday(),)
            nth = (local.day - 1) // 7 + 1
        else:
            weekdays = ()
            month_day = 31 if attributes.day_of_month == "last_day" else local.day
    pattern = Pattern(frequency, attributes.interval_size, local.time(), weekdays, month_day, nth)
    beginning = begin_at(pattern, timezone, start, local, policy)
    if beginning is None:
        raise _unsupported_field(
            "repeating_schedule_attributes", "has no occurrence before the year 10000"
        )
    return beginning.rule


def _read_merged_schedule_body(body: dict[str, Any], ctx: BodyContext) -> Schedule:
    """Return the schedule of a merged `schedule` body; faults have this body's field names."""
    alone = ctx._replace(current=None, anchor=None, past=PastStarts.ANY)
    try:
        schedule = read_schedule_body(body, alone).schedule
    except InvalidInput as error:
        errors: dict[str, list[str]] = {}
        for path, texts in error.errors.items():
            here = _NAMES_HERE.get(path, "repeating_schedule_attributes")
            if path.partition(".")[0] in EXTRAS.fields:
                here = path
            errors.setdefault(here, []).extend(texts)
        raise invalid_input(422, INVALID_VALUES, errors) from error
    assert schedule is not None
    return schedule


def _check_times(
    schedule: Schedule,
    end: str | None,
    ctx: BodyContext,
    body: dict[str, Any],
    *,
    keeps_start: bool,
) -> None:
    """Refuse an end at or before the start, a start in the past, and a schedule without runs."""
    if schedule.ends_at is not None and schedule.ends_at <= schedule.anchor_at:
        raise _end_not_after_start(
            "enddate", end or schedule.ends_at.isoformat(), body["startdate"]
        )
    recurs = schedule.kind is Kind.RECURRING
    over = schedule.anchor_at <= ctx.now and not keeps_start
    if over and (
        ctx.past is PastStarts.REFUSE
        or (ctx.past is PastStarts.RECURRENCES and schedule.kind is Kind.ONCE)
    ):
        text = f"is {shown_value(body['startdate'])}, must be after {ctx.now.isoformat()}"
        raise _unsupported_field("startdate", text)
    # A recurrence that starts after now and has no end always has an occurrence ahead.
    if recurs and (schedule.ends_at is not None or schedule.anchor_at <= ctx.now):
        to_come = (
            schedule.event_after(ctx.now)
            if ctx.past is PastStarts.REFUSE
            else schedule.first_event()
        )
        if to_come is None:
            field = "repeating_schedule_attributes" if schedule.ends_at is None else "enddate"
            raise _unsupported_field(field, "leaves no occurrence: the recurrence would never run")


def _keeps_start(
    given: UpdateSchedule, current: CurrentSchedule, body: dict[str, Any], ctx: BodyContext
) -> bool:
    """Return whether startdate is that of the schedule: the same instant or wall-clock time."""
    before = ctx.campaign_timezone if "timezone" in body else current.schedule.timezone
    start, _ = _resolve_instant(given.startdate, "startdate", body, given.timezone or before)
    return start == current.schedule.anchor_at or given.startdate == current.schedule.anchor_local


def _resolve_instant(
    written: datetime,
    field: str,
    body: dict[str, Any],
    timezone: str,
    policy: DaylightSaving | None = None,
) -> tuple[datetime, datetime]:
    try:
        return resolve_datetime(written, zone(timezone), policy)
    except OverflowError:
        text = f"is {shown_value(body[field])}, in UTC outside the years 1 to 9999"
        raise _unsupported_field(field, text) from None


def _end_not_after_start(field: str, end: str, start: str) -> InvalidInput:
    return _unsupported_field(
        field, f"is {shown_value(end)}, must be after startdate {shown_value(start)}"
    )


def _unsupported_field(field: str, text: str) -> InvalidInput:
    return invalid_input(422, INVALID_VALUES, {field: [text]})
