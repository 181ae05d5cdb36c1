"""The options that describe a schedule, and the body that they make."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import typer

from daemon.cli.when import parse_when, resolve_when, weekday_number
from daemon.domain.requests.datetimes import parse_date
from daemon.domain.schedule.timezones import is_zone, wall_clock

EveryOption = Annotated[
    str | None,
    typer.Option(
        metavar="DAYS",
        help="How often: day, weekday, weekend, month, or days such as mon,wed or mon-fri.",
    ),
]
OnOption = Annotated[
    str | None,
    typer.Option(metavar="DAY", help="With --every month, its day: 1 to 31, or last."),
]
IntervalOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=999, help="Only every N-th day, week or month; default: 1."
    ),
]
AtOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="The time of day, such as 09:00.")
]
ZoneOption = Annotated[
    str | None,
    typer.Option("--zone", metavar="ZONE", help="The time zone, such as Europe/Paris."),
]
OnceOption = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN", help="Run once: 2026-11-30 09:00, tomorrow 09:00, monday 09:00, ..."
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="WHEN", help="The earliest run, from which intervals count."),
]
UntilOption = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="The end: a date, which is included, or a time."),
]

_WORDS = {
    "day": (),
    "daily": (),
    "weekday": (1, 2, 3, 4, 5),
    "weekdays": (1, 2, 3, 4, 5),
    "workday": (1, 2, 3, 4, 5),
    "weekend": (6, 7),
}
_MONTH = frozenset({"month", "monthly"})
_LAST_DAY = 31


class ScheduleOptions(NamedTuple):
    """The schedule as the options describe it; None: not given."""

    every: str | None = None
    on: str | None = None
    interval: int | None = None
    at: str | None = None
    once: str | None = None
    start: str | None = None
    until: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether any option was given."""
        return any(value is not None for value in self)


def schedule_body(options: ScheduleOptions, zone: ZoneInfo, now: datetime) -> dict[str, Any] | None:
    """Return the body of a new schedule; None when no option describes one.

    Args:
        options: the options.
        zone: the zone of the schedule.
        now: the present, aware, for words such as tomorrow.

    Raises:
        typer.BadParameter: the options contradict each other, or one is invalid.
    """
    if not options.is_given:
        return None
    if options.once is not None:
        if options._replace(once=None).is_given:
            raise typer.BadParameter("--once takes no other option of a schedule")
        at = _local_text(options.once, zone, now, "--once")
        return {"schedule_type": "scheduled", "scheduled_at": at, "timezone": zone.key}
    if options.every is None:
        raise typer.BadParameter("give --every DAYS or --once WHEN")
    if options.at is None:
        raise typer.BadParameter("--every needs --at TIME, such as --at 09:00")
    config: dict[str, Any] = {**_frequency(options.every)}
    body = {"schedule_type": "recurring", "timezone": zone.key, "recurring_config": config}
    return changed_body(body, options._replace(every=None), zone, now)


def changed_body(
    body: dict[str, Any], options: ScheduleOptions, zone: ZoneInfo, now: datetime
) -> dict[str, Any]:
    """Return the body of a recurrence with some of its parts changed.

    Raises:
        typer.BadParameter: the options do not fit the body.
    """
    given = body.get("recurring_config")
    if not isinstance(given, dict):
        raise typer.BadParameter(
            "the schedule is no recurrence of this form: describe it anew by --every or --once"
        )
    config, rest = dict(given), {**body}
    if options.on is not None:
        if config.get("frequency") != "monthly":
            raise typer.BadParameter("--on is for --every month")
        config["day_of_month"] = _day_of_month(options.on)
    elif config.get("frequency") == "monthly" and "day_of_month" not in config:
        raise typer.BadParameter("--every month needs --on DAY, such as --on 15 or --on last")
    if options.interval is not None:
        config["interval"] = options.interval
    if options.at is not None:
        config["time"] = _time_text(options.at)
    if options.until is not None:
        is_date = parse_date(options.until) is not None
        config["end_date"] = (
            options.until if is_date else _local_text(options.until, zone, now, "--until")
        )
    if options.start is not None:
        start = _local_text(options.start, zone, now, "--from")
        if parse_date(options.start) is not None and "time" in config:
            start = f"{options.start}T{config['time']}:00"
        rest["scheduled_at"] = start
    return {**rest, "recurring_config": config}


def require_zone(name: str, hint: str = "--zone") -> None:
    """Raise typer.BadParameter unless a zone has this name."""
    if not is_zone(name):
        raise typer.BadParameter(
            f"{name!r} is not a time zone, such as Europe/Paris", param_hint=hint
        )


def _frequency(every: str) -> dict[str, Any]:
    word = every.strip().lower()
    if word in _MONTH:
        return {"frequency": "monthly"}
    if word in _WORDS:
        days = _WORDS[word]
        return {"frequency": "weekly", "days_of_week": [*days]} if days else {"frequency": "daily"}
    return {"frequency": "weekly", "days_of_week": sorted(_weekdays(word))}


def _weekdays(text: str) -> set[int]:
    """Return the ISO numbers of weekdays such as mon,wed or fri-mon."""
    found: set[int] = set()
    for part in text.split(","):
        names = [weekday_number(name.strip().removesuffix("s")) for name in part.split("-")]
        if len(names) > 2 or None in names:
            raise typer.BadParameter(
                f"{text!r} is neither day, weekday, weekend nor month, nor days such as mon,wed",
                param_hint="--every",
            )
        first, last = names[0] or 0, names[-1] or 0
        found |= {(first + step) % 7 + 1 for step in range((last - first) % 7 + 1)}
    return found


def _day_of_month(text: str) -> int:
    if text.lower() == "last":
        return _LAST_DAY
    if text.isdigit() and 1 <= int(text) <= _LAST_DAY:
        return int(text)
    raise typer.BadParameter(f"{text!r} is neither a day from 1 to 31 nor last", param_hint="--on")


def _time_text(text: str) -> str:
    at = parse_when(text, "--at").at
    if at is None or at.second:
        raise typer.BadParameter(f"{text!r} is not a time of day such as 09:00", param_hint="--at")
    return f"{at:%H:%M}"


def _local_text(text: str, zone: ZoneInfo, now: datetime, hint: str) -> str:
    """Return a time as clock time in the zone, or with the offset that was written."""
    when = parse_when(text, hint)
    if when.written is not None:
        return when.written.isoformat()
    return wall_clock(resolve_when(when, now, zone, past=False, hint=hint), zone).isoformat()
