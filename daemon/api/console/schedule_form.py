"""The fields of the schedule editor, and the request bodies that they stand for.

The console invents no rule of its own: a form becomes a body of the HTTP interface, which the
domain reads and checks. A schedule that the fields cannot express is edited as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any

from starlette.datastructures import FormData

from daemon.api.requests import parse_json
from daemon.domain.errors import INVALID_CONFIGURATION, InvalidInput
from daemon.domain.requests import CurrentSchedule
from daemon.domain.requests.merge_patch import WEEKDAYS
from daemon.domain.schedule.recurrence import Frequency, Skip
from daemon.domain.schedule.schedule import CampaignType, Kind, Schedule
from daemon.domain.schedule.timezones import wall_clock, zone

_FIELDS = frozenset(
    {
        *("schedule_type", "scheduled_at", "timezone", "recurring_config", "startdate", "enddate"),
        *("recurring_schedule", "repeating_schedule_attributes", "misfire_grace_time"),
        *("coalesce", "overlap"),
    }
)
"""The fields of bodies that the form has; a body keeps its others."""
_END_OF_DAY = time(23, 59, 59)
_FREQUENCIES = {
    Frequency.DAILY: "daily",
    Frequency.WEEKLY: "weekly",
    Frequency.MONTHLY: "monthly",
}


@dataclass(frozen=True, slots=True)
class ScheduleForm:
    """The editor's fields, as text."""

    kind: str = "none"
    """none, once, daily, weekly, monthly, nth, window or json."""
    day: str = ""
    """Date of a one-off, or of a window's start."""
    time: str = "09:00"
    zone: str = "UTC"
    interval: str = "1"
    weekdays: tuple[str, ...] = ()
    month_day: str = "1"
    skip: str = Skip.BACKWARD.value
    nth: str = "1"
    weekday: str = "1"
    start: str = ""
    """Date from which a recurrence may run; empty: from now on."""
    end: str = ""
    """Last date; empty: without an end."""
    repeats: str = "daily"
    """How often a window runs: daily or continuously."""
    grace: str = ""
    overlap: str = ""
    coalesce: bool = True
    json: str = "{}"
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the stored body that the form does not have."""

    def to_body(self, current: CurrentSchedule | None, today: date) -> dict[str, Any]:
        """Return the request body; the domain reports what is wrong with it.

        Args:
            current: the campaign's schedule.
            today: the present date, from which the first nth weekday is looked for.

        Raises:
            InvalidInput: the JSON cannot be read.
        """
        if self.kind == "json":
            return _read_json(self.json)
        if self.kind == "none":
            return {"schedule_type": "immediate"}
        common: dict[str, Any] = {**self.extras, "coalesce": self.coalesce}
        if self.grace:
            common["misfire_grace_time"] = _number(self.grace)
        if self.overlap:
            common["overlap"] = self.overlap
        if self.kind == "once":
            at = f"{self.day}T{self.time}"
            return {
                "schedule_type": "scheduled",
                "scheduled_at": at,
                "timezone": self.zone,
                **common,
            }
        if self.kind in ("nth", "window"):
            return self._update_body(common, current, today)
        return {"schedule_type": "recurring", **self._start(current), **common, **self._config()}

    def moved(self, day: str, clock: str) -> ScheduleForm:
        """Return the form with its day and its time moved, as far as the kind has one."""
        form = replace(self, time=clock or self.time) if self.kind != "json" else self
        if not _is_date(day):
            return form
        on = date.fromisoformat(day)
        match form.kind:
            case "once" | "window":
                return replace(form, day=day)
            case "weekly" if len(form.weekdays) == 1:
                return replace(form, weekdays=(str(on.isoweekday()),))
            case "monthly":
                return replace(form, month_day=str(on.day))
            case "nth":
                return replace(form, nth=str((on.day - 1) // 7 + 1), weekday=str(on.isoweekday()))
        return form

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "frequency": self.kind,
            "interval": _number(self.interval),
            "time": self.time,
            "time_zone": self.zone,
        }
        if self.kind == "weekly":
            config["days_of_week"] = [_number(each) for each in self.weekdays]
        if self.kind == "monthly":
            config["day_of_month"] = _number(self.month_day)
            config["skip"] = self.skip
        if self.end:
            config["end_date"] = self.end
        return {"recurring_config": config}

    def _start(self, current: CurrentSchedule | None) -> dict[str, Any]:
        if not self.start:
            return {}
        anchor = None if current is None else current.schedule.anchor_local
        if current is not None and anchor is not None and self.start == anchor.date().isoformat():
            # The present start, as it was written: it may be over, and its time is its own.
            return {"scheduled_at": current.body.get("scheduled_at", anchor.isoformat())}
        return {"scheduled_at": f"{self.start}T{self.time}"}

    def _update_body(
        self, common: dict[str, Any], current: CurrentSchedule | None, today: date
    ) -> dict[str, Any]:
        body: dict[str, Any] = {"timezone": self.zone, **common}
        body["enddate"] = f"{self.end}T{_END_OF_DAY}" if self.end else None
        if self.kind == "window":
            return {
                **body,
                "startdate": f"{self.day}T{self.time}",
                "recurring_schedule": self.repeats,
            }
        nth, weekday = int(_digit(self.nth)), int(_digit(self.weekday))
        first = date.fromisoformat(self.start) if _is_date(self.start) else today
        while first.isoweekday() != weekday or (first.day - 1) // 7 + 1 != nth:
            first += timedelta(days=1)
        start = f"{first}T{self.time}"
        if current is not None and replace(self, json="", extras={}) == replace(
            form_of(current), json="", extras={}
        ):
            start = current.schedule.anchor_local.isoformat()
        attributes = {
            "interval_size": _number(self.interval),
            "interval_unit": "month",
            "day_of_month": "nth_weekday",
            "days_of_week": [WEEKDAYS[weekday - 1]],
        }
        return {**body, "startdate": start, "repeating_schedule_attributes": attributes}


def read_form(form: FormData, current: CurrentSchedule | None) -> ScheduleForm:
    """Return the fields of a form that was sent."""

    def text(name: str, default: str) -> str:
        return str(form.get(name, default)).strip()

    plain = ScheduleForm()
    return ScheduleForm(
        kind=text("kind", plain.kind),
        day=text("day", plain.day),
        time=text("time", plain.time),
        zone=text("zone", plain.zone),
        interval=text("interval", plain.interval) or "1",
        weekdays=tuple(str(each) for each in form.getlist("weekdays")),
        month_day=text("month_day", plain.month_day),
        skip=text("skip", plain.skip),
        nth=text("nth", plain.nth),
        weekday=text("weekday", plain.weekday),
        start=text("start", plain.start),
        end=text("end", plain.end),
        repeats=text("repeats", plain.repeats),
        grace=text("grace", plain.grace),
        overlap=text("overlap", plain.overlap),
        coalesce="coalesce" in form.getlist("coalesce"),
        json=text("json", plain.json),
        extras={} if current is None else _extras(current.body),
    )


def form_of(current: CurrentSchedule) -> ScheduleForm:
    """Return the fields that show a schedule; as JSON where the fields cannot express it."""
    schedule, body = current.schedule, current.body
    shown = ScheduleForm(
        zone=schedule.timezone,
        end="" if schedule.ends_at is None else _end_of(schedule),
        grace=str(schedule.misfire_grace_time),
        overlap=schedule.overlap.value,
        coalesce=schedule.coalesce,
        json=json.dumps(body, indent=2, ensure_ascii=False),
        extras=_extras(body),
    )
    local, rule = schedule.anchor_local, schedule.rule
    if _has_more(schedule):
        return replace(shown, kind="json")
    shown = replace(shown, day=local.date().isoformat(), time=f"{local:%H:%M}")
    if schedule.kind is Kind.ONCE:
        return replace(shown, kind="once")
    if schedule.kind is Kind.WINDOW:
        repeats = "continuously" if schedule.every_seconds is not None else "daily"
        return replace(shown, kind="window", repeats=repeats)
    assert rule is not None
    shown = replace(
        shown,
        day="",
        kind="nth" if rule.nth is not None else _FREQUENCIES[rule.frequency],
        time=f"{rule.time:%H:%M}",
        interval=str(rule.interval),
        weekdays=tuple(map(str, rule.weekdays)),
        month_day=str(rule.month_day or 1),
        skip=rule.skip.value,
        start=local.date().isoformat() if "scheduled_at" in body or "startdate" in body else "",
    )
    if rule.nth is not None:
        return replace(shown, nth=str(rule.nth), weekday=str(rule.weekdays[0]), weekdays=())
    return shown


def campaign_type_of(form: ScheduleForm, window: CampaignType) -> CampaignType:
    """Return the type of a new campaign with such a schedule."""
    if form.kind == "window":
        return window
    return CampaignType.ONE_TIME if form.kind in ("once", "none") else CampaignType.RECURRING


def is_update_body(body: Mapping[str, Any]) -> bool:
    """Return whether the body is an `update_schedule` body."""
    return "schedule_type" not in body


def _has_more(schedule: Schedule) -> bool:
    """Return whether the schedule has something that the fields cannot show."""
    rule, local = schedule.rule, schedule.anchor_local
    if schedule.kind is not Kind.RECURRING and (local.second or local.microsecond):
        return True
    if schedule.ends_at is not None and not _end_of(schedule):
        return True
    if rule is None:
        return False
    return bool(
        rule.time.second
        or rule.time.microsecond
        or (rule.nth is not None and len(rule.weekdays) > 1)
        or (rule.frequency is Frequency.DAILY and rule.weekdays)
    )


def _end_of(schedule: Schedule) -> str:
    """Return the last date; "" where the schedule ends within a day."""
    if schedule.ends_on is not None:
        return schedule.ends_on.isoformat()
    if schedule.ends_at is None:
        return ""
    local = wall_clock(schedule.ends_at, zone(schedule.timezone))
    return local.date().isoformat() if local.time().replace(microsecond=0) == _END_OF_DAY else ""


def _extras(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _FIELDS}


def _read_json(text: str) -> dict[str, Any]:
    body = parse_json(text.encode(), INVALID_CONFIGURATION)
    if not isinstance(body, dict):
        raise InvalidInput(400, INVALID_CONFIGURATION, "the JSON must be an object")
    return body


def _number(text: str) -> int | str:
    """Return a number; other texts as they are, so that the domain names the fault."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _digit(text: str) -> str:
    return text if text in tuple("1234567") else "1"


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10
