"""Laying an `update_schedule` body over what the campaign has (semantics section 3).

Works on bodies, not on values, so that what is stored is still the input as given. A recurring
campaign that was set with a `schedule` body keeps that form as long as it can say what is asked
for; everything else becomes an `update_schedule` body. Bodies that come here are well-formed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from daemon.domain.requests.context import EXTRAS, Context, Current, keep_extras, without_nulls
from daemon.domain.schedule.schedule import Kind, ScheduleSource

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ATTRIBUTES = "repeating_schedule_attributes"
_FREQUENCIES = {"day": "daily", "week": "weekly", "month": "monthly"}
_ALL_CLEARED = dict.fromkeys(("interval_size", "interval_unit", "days_of_week", "day_of_month"))


class Merged(NamedTuple):
    """The body to read and store, in one of the two forms, and its end as written."""

    source: ScheduleSource
    body: dict[str, Any]
    end: str | None


def merge(given: dict[str, Any], current: Current | None, ctx: Context) -> Merged:
    """The whole body that `given` amounts to: absent stays, null clears, field by field."""
    if current is None:
        body = without_nulls(given)
        if _ATTRIBUTES in body:
            body[_ATTRIBUTES] = without_nulls(body[_ATTRIBUTES])
        return _updated(body)
    if current.source is ScheduleSource.UPDATE_SCHEDULE:
        base = current.body
    elif current.schedule.kind is not Kind.RECURRING:
        base = {name: current.body[name] for name in EXTRAS if name in current.body}
    else:
        attributes = given.get(_ATTRIBUTES, {})
        if attributes is None:
            attributes = _ALL_CLEARED
        if not _needs_ordinal(attributes, current.body["recurring_config"]):
            return _over_saved(given, attributes, current, ctx)
        base = _as_update(current)
    body = {**base, **given}
    if isinstance(given.get(_ATTRIBUTES), dict):
        body[_ATTRIBUTES] = without_nulls({**base.get(_ATTRIBUTES, {}), **given[_ATTRIBUTES]})
    _keep_absent(body, given, current, ctx)
    return _updated(without_nulls(body))


def _updated(body: dict[str, Any]) -> Merged:
    return Merged(ScheduleSource.UPDATE_SCHEDULE, body, body.get("enddate"))


def _keep_absent(
    body: dict[str, Any], given: dict[str, Any], current: Current, ctx: Context
) -> None:
    """Write what the campaign's schedule has, and its body does not say, into `body`."""
    if "timezone" not in given and current.schedule.timezone != ctx.campaign_timezone:
        body["timezone"] = current.schedule.timezone
    # A null in `body` is a value cleared just now, and setdefault leaves it alone.
    keep_extras(body, ctx)


def _needs_ordinal(attributes: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether an nth weekday is asked for, which a `schedule` body cannot say."""
    unit = _FREQUENCIES[attributes.get("interval_unit") or "day"]
    frequency = unit if "interval_unit" in attributes else config["frequency"]
    return attributes.get("day_of_month") == "nth_weekday" and frequency == "monthly"


def _over_saved(
    given: dict[str, Any], attributes: dict[str, Any], current: Current, ctx: Context
) -> Merged:
    body = dict(current.body)
    config = dict(body["recurring_config"])
    body["scheduled_at"] = given["startdate"]
    if "enddate" in given:
        config["end_date"] = given["enddate"]
    for name in ("timezone", *EXTRAS):
        if name in given:
            body[name] = given[name]
    if "timezone" in given:
        config.pop("time_zone", None)
    elif "time_zone" not in config:
        _keep_absent(body, given, current, ctx)
    keep_extras(body, ctx)
    _apply(attributes, config, current)
    body["recurring_config"] = config = without_nulls(config)
    return Merged(ScheduleSource.SCHEDULE, without_nulls(body), config.get("end_date"))


def _apply(attributes: dict[str, Any], config: dict[str, Any], current: Current) -> None:
    """Translate attributes of the one body into the other's recurring_config."""
    if "interval_size" in attributes:
        config["interval"] = attributes["interval_size"]
    if "interval_unit" in attributes:
        config["frequency"] = _FREQUENCIES[attributes["interval_unit"] or "day"]
    if "days_of_week" in attributes:
        names = attributes["days_of_week"] or ()
        config["days_of_week"] = sorted({WEEKDAYS.index(name) + 1 for name in names}) or None
    if "day_of_month" in attributes:
        if attributes["day_of_month"] == "last_day":
            config["day_of_month"] = 31
            config["skip"] = None
        else:
            # Startdate's own day, which is what an absent day means.
            config["day_of_month"] = None


def _as_update(current: Current) -> dict[str, Any]:
    """The `update_schedule` body nearest to a saved recurrence; its own time of day is lost."""
    config = current.body["recurring_config"]
    attributes: dict[str, Any] = {"interval_unit": "month"}
    if "interval" in config:
        attributes["interval_size"] = config["interval"]
    if "days_of_week" in config:
        attributes["days_of_week"] = [WEEKDAYS[day - 1] for day in config["days_of_week"]]
    base: dict[str, Any] = {_ATTRIBUTES: attributes}
    base.update({name: current.body[name] for name in EXTRAS if name in current.body})
    if "end_date" in config:
        end = config["end_date"]
        # This body's enddate is a datetime: a date lasts until its end.
        base["enddate"] = end if "T" in end else f"{end}T23:59:59.999999"
    if "timezone" in current.body or "time_zone" in config:
        base["timezone"] = current.schedule.timezone
    return base
