"""The `schedule` body (docs/semantics.md#input-the-schedule-body)."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any, NamedTuple

from daemon.domain.errors import IN_THE_PAST, INVALID_CONFIGURATION, InvalidInput
from daemon.domain.requests.conditions import check_conditions
from daemon.domain.requests.context import (
    EXTRAS,
    BodyContext,
    CurrentSchedule,
    ExtensionFields,
    ParsedSchedule,
    PastStarts,
    keep_extension_fields,
    without_nulls,
)
from daemon.domain.requests.datetimes import end_of_day, resolve_datetime
from daemon.domain.requests.daylight_saving import skipped_start
from daemon.domain.requests.declaration import Body, Variant, declare_field, declare_fields_of
from daemon.domain.requests.fields import (
    BLANK,
    Faults,
    invalid_input,
    require_object,
    shown_value,
)
from daemon.domain.requests.forms import (
    DATETIME,
    END_DATE,
    TIME,
    WEEKDAYS,
    ZONE,
    choice_form,
    enum_form,
    integer_form,
    unread_form,
)
from daemon.domain.requests.rrule import RRULE, STANDS_FOR, WrittenRule
from daemon.domain.schedule.daylight_saving import DaylightSaving
from daemon.domain.schedule.dtstart import (
    Pattern,
    anchor_without_start,
    begin_after,
    begin_at,
    pattern_of,
)
from daemon.domain.schedule.recurrence import Frequency, Skip
from daemon.domain.schedule.schedule import CampaignType, Kind, Overlap, Schedule, ScheduleSource
from daemon.domain.schedule.timezones import zone


class RecurringConfig(NamedTuple):
    """The recurrence of a recurring campaign."""

    frequency: Frequency = declare_field(
        enum_form(Frequency), doc="Required, unless rrule stands for it."
    )
    interval: int = declare_field(
        integer_form(1, 999), default=1, doc="Number of days, weeks or months."
    )
    days_of_week: tuple[int, ...] = declare_field(WEEKDAYS, default=(), doc="1 to 7, Monday is 1.")
    day_of_month: int | None = declare_field(
        integer_form(1, 31), doc="In a shorter month its last day, unless skip is omit."
    )
    time: time | None = declare_field(TIME, doc="HH:MM. Default: the time of scheduled_at.")
    time_zone: str | None = declare_field(ZONE)
    end_date: datetime | date | None = declare_field(END_DATE)
    skip: Skip = declare_field(
        enum_form(Skip),
        default=Skip.BACKWARD,
        doc="In a month without the day: its last day (backward), or no run (omit).",
    )
    rrule: WrittenRule | None = declare_field(
        RRULE,
        doc="The recurrence as RFC 5545 text, in place of frequency, interval, days_of_week, "
        "day_of_month and skip.",
    )


RECURRING_CONFIG = Body(RecurringConfig, either=("frequency", "rrule"))
VARIANTS = {
    "immediate": Variant(
        "Immediate", "No schedule: the campaign waits for its start. Clears an existing schedule."
    ),
    "scheduled": Variant("Scheduled", "One run, at a date and time.", ("scheduled_at",)),
    "recurring": Variant(
        "Recurring",
        "Runs at the occurrences of a recurrence.",
        ("recurring_config",),
        {"recurring_config": RECURRING_CONFIG},
    ),
}
_PARTS = {"days_of_week": "BYDAY", "day_of_month": "BYMONTHDAY"}
"""The parts of an rrule that say what these fields say."""
_SCHEDULE_TYPE = choice_form({word: word for word in VARIANTS})


class SaveSchedule(NamedTuple):
    """A new schedule that replaces the current one.

    The read-only fields of a schedule that was read are accepted too, with unchanged values.
    """

    schedule_type: str = declare_field(_SCHEDULE_TYPE, required=True)
    scheduled_at: datetime | None = declare_field(
        DATETIME, doc="The instant of the run, or the earliest possible run of a recurrence."
    )
    timezone: str | None = declare_field(ZONE)
    extras: ExtensionFields = declare_fields_of(EXTRAS)
    recurring_config: object = declare_field(unread_form({}), doc="Ignored, and may hold anything.")


SAVE_SCHEDULE = Body(SaveSchedule, variants=VARIANTS)


def is_schedule_body(body: object) -> bool:
    """Return whether this is a `schedule` body; an `update_schedule` body has no schedule_type."""
    return isinstance(body, dict) and "schedule_type" in body


def read_schedule_body(body: object, ctx: BodyContext) -> ParsedSchedule:
    """Read a `schedule` body, which replaces the whole schedule.

    Kept from the current schedule are the extension fields, and the start of a recurrence
    that is saved again with the same rule and without scheduled_at.

    Raises:
        InvalidInput: 400 with all faults.
    """
    body = require_object(body, INVALID_CONFIGURATION)
    fields, config = _read_fields(body)
    timezone, extras, at = fields.timezone, fields.extras, fields.scheduled_at
    stored = without_nulls(body)
    if config is None:
        # Nothing has read it, so it may hold values that the database cannot store.
        stored.pop("recurring_config", None)
    if fields.schedule_type == "immediate":
        return ParsedSchedule(None, ctx.campaign_type, ScheduleSource.SCHEDULE, stored)
    if ctx.campaign_type.is_window:
        raise _invalid_field(
            "schedule_type",
            f"is {fields.schedule_type}, which a {ctx.campaign_type} campaign cannot have: its "
            "window is set with update_schedule",
        )
    if config is not None:
        timezone = config.time_zone or timezone
        stored["recurring_config"] = without_nulls(body["recurring_config"])
    timezone = timezone or ctx.campaign_timezone
    policy = extras.policy(None if ctx.current is None else ctx.current.schedule)
    start = None
    if at is not None:
        written = body["scheduled_at"]
        start = _resolve_start(at, timezone, policy, written, config is not None, ctx)
    if config is not None:
        pattern = _build_pattern(config, start)
        current = ctx.current
        if start is None and current is not None and _is_same_rule(pattern, timezone, current):
            start = current.schedule.anchor_at, current.schedule.anchor_local
            if current.start_as_written is not None:
                stored["scheduled_at"] = current.start_as_written
        schedule = _build_recurring_schedule(config, pattern, timezone, start, extras, ctx)
        campaign_type = CampaignType.RECURRING
    else:
        assert start is not None
        schedule = _build_schedule(Kind.ONCE, timezone, start, extras, ctx)
        campaign_type = CampaignType.ONE_TIME
    parsed = ParsedSchedule(
        schedule, campaign_type, ScheduleSource.SCHEDULE, keep_extension_fields(stored, ctx)
    )
    return check_conditions(parsed, ctx, INVALID_CONFIGURATION, "scheduled_at")


def _read_fields(body: dict[str, Any]) -> tuple[SaveSchedule, RecurringConfig | None]:
    faults = Faults()
    fields = SAVE_SCHEDULE.read_fields(faults, body)
    variant = VARIANTS.get(fields.schedule_type)
    config = None
    if variant is not None:
        for name in variant.required:
            if body.get(name) is None:
                faults.add_malformed(name, BLANK)
        if variant.used and fields.recurring_config is not None:
            config = RECURRING_CONFIG.read_field(
                faults, "recurring_config", fields.recurring_config
            )
            if config is not None and config.rrule is not None:
                config = _spell_out(faults, config, config.rrule, body["recurring_config"])
    if faults:
        raise faults.to_error(INVALID_CONFIGURATION)
    return fields, config


def _spell_out(
    faults: Faults, config: RecurringConfig, rule: WrittenRule, given: dict[str, Any]
) -> RecurringConfig:
    """Return the config with the values of the fields that its rrule stands for."""
    beside = [name for name in STANDS_FOR if given.get(name) is not None]
    if beside:
        text = f"stands for {', '.join(beside)}: give one of them"
        faults.add_malformed("recurring_config.rrule", text)
    end_date = config.end_date
    if rule.end_date is not None:
        if end_date is not None:
            faults.add_malformed("recurring_config.rrule", "has UNTIL: give it or end_date")
        end_date = END_DATE.read(faults, "recurring_config.rrule", rule.end_date)
    return config._replace(
        frequency=rule.frequency,
        interval=rule.interval,
        days_of_week=rule.weekdays,
        day_of_month=rule.month_day,
        skip=rule.skip,
        end_date=end_date,
    )


def _resolve_start(
    at: datetime,
    timezone: str,
    policy: DaylightSaving | None,
    written: str,
    recurs: bool,
    ctx: BodyContext,
) -> tuple[datetime, datetime]:
    fault = skipped_start(at, timezone, policy)
    if fault is not None and ctx.past is PastStarts.REFUSE:
        raise _invalid_field("scheduled_at", fault)
    try:
        start = resolve_datetime(at, zone(timezone), policy)
    except OverflowError:
        raise _out_of_range("scheduled_at", written) from None
    over = start[0] <= ctx.now and not (recurs and _is_present_start(start[0], ctx.current))
    if over and (
        ctx.past is PastStarts.REFUSE or (ctx.past is PastStarts.RECURRENCES and not recurs)
    ):
        text = f"is {shown_value(written)}, must be after {ctx.now.isoformat()}"
        if recurs:
            text += ", absent, or the present start of this recurrence"
        raise invalid_input(400, IN_THE_PAST, {"scheduled_at": [text]})
    return start


def _is_present_start(start: datetime, current: CurrentSchedule | None) -> bool:
    schedule = None if current is None else current.schedule
    return schedule is not None and schedule.kind is Kind.RECURRING and schedule.anchor_at == start


def _is_same_rule(pattern: Pattern, timezone: str, current: CurrentSchedule) -> bool:
    """Return whether a recurrence is the current one; `skip` moves none of its intervals."""
    schedule = current.schedule
    if schedule.kind is not Kind.RECURRING or schedule.rule is None:
        return False
    if pattern.month not in (None, schedule.rule.first_on.month):
        return False
    same = pattern_of(schedule.rule)._replace(skip=pattern.skip, month=pattern.month) == pattern
    return same and schedule.timezone == timezone


def _build_recurring_schedule(
    config: RecurringConfig,
    pattern: Pattern,
    timezone: str,
    start: tuple[datetime, datetime] | None,
    extras: ExtensionFields,
    ctx: BodyContext,
) -> Schedule:
    ends_at = ends_on = None
    if isinstance(config.end_date, datetime):
        try:
            ends_at = resolve_datetime(config.end_date, zone(timezone))[0]
        except OverflowError:
            raise _out_of_range("recurring_config.end_date", config.end_date.isoformat()) from None
    elif config.end_date is not None:
        ends_on = config.end_date
        ends_at = end_of_day(ends_on, zone(timezone))
    policy = extras.policy(None if ctx.current is None else ctx.current.schedule)
    if start is not None:
        beginning = begin_at(pattern, timezone, *start, policy)
    elif ctx.anchor is not None:
        try:
            anchor = resolve_datetime(
                ctx.anchor.replace(tzinfo=None, fold=0), zone(timezone), policy
            )
        except OverflowError:
            raise _out_of_range("anchor", ctx.anchor.isoformat()) from None
        beginning = begin_at(pattern, timezone, *anchor, policy)
    else:
        beginning = begin_after(pattern, timezone, ctx.now, policy)
    if beginning is not None:
        schedule = _build_schedule(
            Kind.RECURRING,
            timezone,
            start or anchor_without_start(beginning, timezone, policy),
            extras,
            ctx,
            rule=beginning.rule,
            ends_at=ends_at,
            ends_on=ends_on,
        )
        if config.end_date is None or _has_accepted_occurrence(schedule, ctx):
            return schedule
    if config.end_date is None:
        raise _invalid_field("recurring_config", "has no occurrence before the year 10000")
    why = "no occurrence"
    if beginning is not None and beginning.at > ctx.now:
        why = f"the first one is {beginning.at.isoformat()}"
    elif beginning is not None:
        why = f"none is left after {ctx.now.isoformat()}"
    raise _invalid_field(
        "recurring_config.end_date",
        f"is {config.end_date.isoformat()}, so the recurrence would never run: {why}",
    )


def _has_accepted_occurrence(schedule: Schedule, ctx: BodyContext) -> bool:
    """Return whether an occurrence is ahead; of history and imports, whether there is one."""
    if ctx.past is PastStarts.REFUSE:
        return schedule.event_after(ctx.now) is not None
    return schedule.first_event() is not None


def _build_pattern(config: RecurringConfig, start: tuple[datetime, datetime] | None) -> Pattern:
    """Return the recurrence; its absent fields follow from scheduled_at's wall-clock time."""
    local = None if start is None else start[1]
    time_of_day, weekdays, day = config.time, config.days_of_week, None
    nth = month = None
    if config.rrule is not None:
        nth, month = config.rrule.nth, config.rrule.month
    missing = []
    if time_of_day is None:
        if local is None:
            missing.append("time")
        else:
            time_of_day = local.time()
    if config.frequency is Frequency.WEEKLY and not weekdays:
        if local is None:
            missing.append("days_of_week")
        else:
            weekdays = (local.isoweekday(),)
    elif config.frequency is Frequency.MONTHLY and nth is None:
        weekdays = ()
        day = config.day_of_month
        if day is None:
            if local is None:
                missing.append("day_of_month")
            else:
                day = local.day
    if missing or time_of_day is None:
        text = f"{BLANK} without scheduled_at"
        errors = {f"recurring_config.{name}": [text] for name in missing}
        if config.rrule is not None:
            for name, part in _PARTS.items():
                if errors.pop(f"recurring_config.{name}", None):
                    errors["recurring_config.rrule"] = [f"needs {part} without scheduled_at"]
        raise invalid_input(400, INVALID_CONFIGURATION, errors)
    return Pattern(
        config.frequency, config.interval, time_of_day, weekdays, day, nth, config.skip, month
    )


def _build_schedule(
    kind: Kind,
    timezone: str,
    start: tuple[datetime, datetime],
    extras: ExtensionFields,
    ctx: BodyContext,
    **recurrence: Any,
) -> Schedule:
    current = None if ctx.current is None else ctx.current.schedule
    grace, coalesce, overlap = extras.misfire_grace_time, extras.coalesce, extras.overlap
    if grace is None:
        grace = ctx.misfire_grace_time if current is None else current.misfire_grace_time
    if coalesce is None:
        coalesce = True if current is None else current.coalesce
    if overlap is None:
        overlap = Overlap.SKIP if current is None else current.overlap
    return Schedule(
        source=ScheduleSource.SCHEDULE,
        kind=kind,
        timezone=timezone,
        anchor_at=start[0],
        anchor_local=start[1],
        misfire_grace_time=grace,
        coalesce=coalesce,
        overlap=overlap,
        **extras.conditions(current),
        **recurrence,
    )


def _invalid_field(path: str, text: str) -> InvalidInput:
    return invalid_input(400, INVALID_CONFIGURATION, {path: [text]})


def _out_of_range(path: str, written: str) -> InvalidInput:
    return _invalid_field(path, f"is {shown_value(written)}, in UTC outside the years 1 to 9999")
