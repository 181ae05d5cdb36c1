"""Merges an `update_schedule` body into the campaign's schedule.

The rules are in docs/semantics.md#input-the-update_schedule-body. Merging works on bodies, not on
values, so that the stored body is still the input as given. A recurring campaign that was set by a
`schedule` body keeps that form if it can express the update. Every other result is an
`update_schedule` body. The bodies that are merged are well-formed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from daemon.domain.requests.context import (
    EXTRAS,
    BodyContext,
    CurrentSchedule,
    keep_extension_fields,
    without_nulls,
)
from daemon.domain.requests.rrule_fields import spell_out, write_back
from daemon.domain.schedule.schedule import Kind, ScheduleSource

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ATTRIBUTES = "repeating_schedule_attributes"
_FREQUENCIES = {"day": "daily", "week": "weekly", "month": "monthly"}
_ALL_CLEARED = dict.fromkeys(("interval_size", "interval_unit", "days_of_week", "day_of_month"))


class MergedBody(NamedTuple):
    """The body to read and store, its form, and its end as written."""

    source: ScheduleSource
    body: dict[str, Any]
    end: str | None


def merge(
    given: dict[str, Any], current: CurrentSchedule | None, ctx: BodyContext, *, keeps_start: bool
) -> MergedBody:
    """Return the whole body: absent fields keep their value, null clears it.

    Args:
        given: The body of the request.
        current: The schedule to change; None when this is the campaign's first one.
        ctx: The facts about the campaign.
        keeps_start: Whether startdate is the schedule's present start.
    """
    if current is None:
        body = without_nulls(given)
        if _ATTRIBUTES in body:
            body[_ATTRIBUTES] = without_nulls(body[_ATTRIBUTES])
        return _merged_update_body(body)
    if current.source is ScheduleSource.UPDATE_SCHEDULE:
        base = current.body
    elif current.schedule.kind is not Kind.RECURRING:
        base = {name: current.body[name] for name in EXTRAS.fields if name in current.body}
    else:
        attributes = given.get(_ATTRIBUTES, {})
        if attributes is None:
            attributes = _ALL_CLEARED
        if not _asks_for_nth_weekday(attributes, spell_out(current.body["recurring_config"])):
            return _merge_into_schedule_body(
                given, attributes, current, ctx, keeps_start=keeps_start
            )
        base = _as_update_body(current)
    body = {**base, **given}
    if isinstance(given.get(_ATTRIBUTES), dict):
        body[_ATTRIBUTES] = without_nulls({**base.get(_ATTRIBUTES, {}), **given[_ATTRIBUTES]})
    _keep_absent_fields(body, given, current, ctx)
    return _merged_update_body(without_nulls(body))


def _merged_update_body(body: dict[str, Any]) -> MergedBody:
    return MergedBody(ScheduleSource.UPDATE_SCHEDULE, body, body.get("enddate"))


def _keep_absent_fields(
    body: dict[str, Any], given: dict[str, Any], current: CurrentSchedule, ctx: BodyContext
) -> None:
    """Add the values of the campaign's schedule that its stored body does not contain."""
    if "timezone" not in given and current.schedule.timezone != ctx.campaign_timezone:
        body["timezone"] = current.schedule.timezone
    # A null in `body` is a value that this update clears, and setdefault does not replace it.
    keep_extension_fields(body, ctx)


def _asks_for_nth_weekday(attributes: dict[str, Any], config: dict[str, Any]) -> bool:
    """Return whether the update asks for an nth weekday, which a `schedule` body cannot express."""
    unit = _FREQUENCIES[attributes.get("interval_unit") or "day"]
    frequency = unit if "interval_unit" in attributes else config["frequency"]
    return attributes.get("day_of_month") == "nth_weekday" and frequency == "monthly"


def _merge_into_schedule_body(
    given: dict[str, Any],
    attributes: dict[str, Any],
    current: CurrentSchedule,
    ctx: BodyContext,
    *,
    keeps_start: bool,
) -> MergedBody:
    body = dict(current.body)
    written = body["recurring_config"]
    config = spell_out(written)
    body["scheduled_at"] = given["startdate"]
    if not keeps_start:
        _remove_fields_derived_from_start(config)
    if "enddate" in given:
        config["end_date"] = given["enddate"]
    for name in ("timezone", *EXTRAS.fields):
        if name in given:
            body[name] = given[name]
    if "timezone" in given:
        config.pop("time_zone", None)
    elif "time_zone" not in config:
        _keep_absent_fields(body, given, current, ctx)
    keep_extension_fields(body, ctx)
    _apply_attributes(attributes, config, current)
    config = without_nulls(config)
    body["recurring_config"] = write_back(config, written)
    return MergedBody(ScheduleSource.SCHEDULE, without_nulls(body), config.get("end_date"))


def _remove_fields_derived_from_start(config: dict[str, Any]) -> None:
    """Remove from a recurring_config what follows from scheduled_at when it is absent."""
    config.pop("time", None)
    # The 31st is the last day of every month: `last_day`, which no startdate changes.
    # An rrule with an ordinal and a weekday derives only the time of day from its start.
    if "nth" not in config and (config.get("day_of_month") != 31 or config.get("skip") == "omit"):
        config.pop("day_of_month", None)
        config.pop("month", None)


def _apply_attributes(
    attributes: dict[str, Any], config: dict[str, Any], current: CurrentSchedule
) -> None:
    """Translate repeating_schedule_attributes into a recurring_config."""
    if "interval_size" in attributes:
        if (attributes["interval_size"] or 1) != config.get("interval", 1):
            config.pop("month", None)
        config["interval"] = attributes["interval_size"]
    if "interval_unit" in attributes:
        config["frequency"] = _FREQUENCIES[attributes["interval_unit"] or "day"]
    if config["frequency"] != "monthly":
        config.pop("nth", None)
        config.pop("month", None)
    if "days_of_week" in attributes:
        names = attributes["days_of_week"] or ()
        config["days_of_week"] = sorted({WEEKDAYS.index(name) + 1 for name in names}) or None
        if not names and config.pop("nth", None):
            config.pop("month", None)
    if "day_of_month" in attributes:
        config.pop("nth", None)
        if attributes["day_of_month"] == "last_day":
            config["day_of_month"] = 31
            config["skip"] = None
        else:
            # An absent day means startdate's own day.
            config["day_of_month"] = None
            config.pop("month", None)


def _as_update_body(current: CurrentSchedule) -> dict[str, Any]:
    """Return the `update_schedule` body nearest to a saved recurrence, without its time of day."""
    config = spell_out(current.body["recurring_config"])
    attributes: dict[str, Any] = {"interval_unit": "month"}
    if "interval" in config:
        attributes["interval_size"] = config["interval"]
    if "days_of_week" in config:
        attributes["days_of_week"] = [WEEKDAYS[day - 1] for day in config["days_of_week"]]
    base: dict[str, Any] = {_ATTRIBUTES: attributes}
    base.update({name: current.body[name] for name in EXTRAS.fields if name in current.body})
    if "end_date" in config:
        end = config["end_date"]
        # The enddate of this body is a datetime: that of a date is the end of the day.
        base["enddate"] = end if "T" in end else f"{end}T23:59:59.999999"
    if "timezone" in current.body or "time_zone" in config:
        base["timezone"] = current.schedule.timezone
    return base
