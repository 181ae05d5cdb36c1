"""`recurring_config.rrule`: a recurrence written as RFC 5545 text (section 3.3.10).

The text is another spelling of the fields of `recurring_config`, so it is read to their values. A
rule that these values cannot express is refused (docs/semantics.md#input-the-schedule-body). The
property tests compare the occurrences of accepted texts with `dateutil.rrule`, which does not serve
here: it steps through all occurrences, it has no SKIP (RFC 7529), and it accepts more than we can.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from daemon.domain.requests.datetimes import parse_date, parse_datetime
from daemon.domain.requests.fields import BLANK, Faults, shown_value
from daemon.domain.requests.forms import Form
from daemon.domain.schedule.recurrence import Frequency, Skip
from daemon.domain.schedule.rrule import WEEKDAY_CODES

MAX_LENGTH = 500
STANDS_FOR = ("frequency", "interval", "days_of_week", "day_of_month", "skip")
"""The fields of recurring_config that an rrule replaces."""
_SUPPORTED = (
    "supported are FREQ, INTERVAL, BYDAY, BYMONTHDAY, UNTIL, SKIP, WKST=MO, and BYMONTH of a "
    "yearly rule"
)
_PARTS = frozenset(
    {
        "FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "UNTIL", "WKST", "SKIP",
        "RSCALE",
    }
)  # fmt: skip
_INSTEAD = {"DTSTART": "scheduled_at", "EXDATE": "send_window.except_dates"}
_MONTHS_A_YEAR = 12
_fold = re.compile(r"\r?\n[ \t]")
_property_of = re.compile(r"([A-Z-]+)[:;]").match
_day_of = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)").fullmatch
_integer_of = re.compile(r"[+-]?[0-9]{1,3}").fullmatch
_until_of = re.compile(
    "([0-9]{4})([0-9]{2})([0-9]{2})(?:T([0-9]{2})([0-9]{2})([0-9]{2})(Z?))?"
).fullmatch


class WrittenRule(NamedTuple):
    """The values that an rrule stands for.

    `nth` and `month` (1 to 12) have no field of their own in recurring_config; the interval of a
    yearly rule, which has a month, is in months. `end_date` is UNTIL, in the form of that field.
    """

    frequency: Frequency
    interval: int
    weekdays: tuple[int, ...]
    month_day: int | None
    nth: int | None
    month: int | None
    skip: Skip
    end_date: str | None


class _Fault(Exception):
    """The text is not accepted, for this reason."""


def parse_rrule(text: str) -> WrittenRule:
    """Return the values of a text that was accepted when it was saved."""
    return _parse(text.upper())


def without_until(text: str) -> str:
    """Return an accepted text without its UNTIL."""
    parts = _rule_line(text.upper()).split(";")
    return ";".join(part for part in parts if not part.startswith("UNTIL="))


def write_rrule(
    interval: int, weekdays: tuple[int, ...], nth: int | None, month: int | None, **day: Any
) -> str:
    """Return the text of a monthly rule that the fields of recurring_config cannot express.

    `day` has `month_day` and `skip`, of a rule without `nth`. The interval is in months.
    """
    yearly = month is not None
    steps = interval // _MONTHS_A_YEAR if yearly else interval
    parts = ["FREQ=YEARLY" if yearly else "FREQ=MONTHLY"]
    if steps != 1:
        parts.append(f"INTERVAL={steps}")
    if yearly:
        parts.append(f"BYMONTH={month}")
    if nth is not None:
        parts.append("BYDAY=" + ",".join(f"{nth}{WEEKDAY_CODES[day - 1]}" for day in weekdays))
    else:
        parts.append(f"BYMONTHDAY={day['month_day']}")
        if day["skip"] is Skip.BACKWARD:
            parts.append("SKIP=BACKWARD")
    return ";".join(parts)


def _read(faults: Faults, path: str, value: object) -> WrittenRule | None:
    if value == "":
        faults.add_malformed(path, BLANK)
    elif not isinstance(value, str) or len(value) > MAX_LENGTH:
        faults.add_malformed(path, f"must be text of at most {MAX_LENGTH} characters")
    else:
        try:
            return _parse(value.upper())
        except _Fault as fault:
            faults.add_malformed(path, str(fault))
    return None


RRULE = Form(
    _read,
    {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_LENGTH,
        "examples": ["FREQ=MONTHLY;BYDAY=-1FR"],
    },
)


def _parse(text: str) -> WrittenRule:
    parts = _parts_of(_rule_line(text))
    for name in parts:
        if name not in _PARTS:
            raise _unsupported(_shown(name))
    yearly = parts.get("FREQ") == "YEARLY"
    frequency = _frequency(parts.get("FREQ"))
    interval = _interval(parts.get("INTERVAL", "1"), 83 if yearly else 999)
    _check_week_start(parts, interval)
    if parts.get("RSCALE", "GREGORIAN") != "GREGORIAN":
        raise _unsupported(f"RSCALE={_shown(parts['RSCALE'])}")
    monthly = frequency is Frequency.MONTHLY
    weekdays, nth, skip = _days(parts, monthly=monthly)
    month_day = None
    if "BYMONTHDAY" in parts:
        if not monthly or weekdays:
            raise _unsupported(f"BYMONTHDAY {'beside BYDAY' if monthly else 'without months'}")
        month_day, skip = _month_day(parts, skip)
    elif "BYSETPOS" in parts:
        raise _unsupported("BYSETPOS")
    month = _month(parts, yearly=yearly)
    if yearly and month_day is None and nth is None:
        raise _Fault("is yearly, so it needs BYMONTHDAY, or BYDAY with an ordinal")
    return WrittenRule(
        frequency,
        interval * (_MONTHS_A_YEAR if yearly else 1),
        weekdays,
        month_day,
        nth,
        month,
        skip,
        _until(parts.get("UNTIL")),
    )


def _shown(value: str) -> str:
    """Return a part's value for an error message, without quotes."""
    return shown_value(value)[1:-1]


def _unsupported(what: str) -> _Fault:
    return _Fault(f"has {what}, which is not supported; {_SUPPORTED}")


def _rule_line(text: str) -> str:
    """Return the one rule of the text, without its name."""
    lines = [line.strip() for line in _fold.sub("", text).splitlines() if line.strip()]
    for line in lines:
        found = _property_of(line)
        if found is None or line.startswith("RRULE:"):
            continue
        name = _shown(found[1])
        if name in _INSTEAD:
            raise _Fault(f"has {name}: say {_INSTEAD[name]}")
        raise _unsupported(name)
    if len(lines) != 1:
        raise _Fault(f"has {len(lines)} lines, must be one rule")
    return lines[0].removeprefix("RRULE:")


def _parts_of(line: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in line.split(";"):
        name, equals, value = part.partition("=")
        if not (name and equals and value):
            raise _Fault(f"has {shown_value(part)}, must be parts such as FREQ=DAILY")
        if name in parts:
            raise _Fault(f"has {_shown(name)} twice")
        if name in _INSTEAD:
            raise _Fault(f"has {name}: say {_INSTEAD[name]}")
        parts[name] = value
    return parts


def _frequency(word: str | None) -> Frequency:
    if word is None:
        raise _Fault("has no FREQ, which is required")
    if word == "YEARLY":
        return Frequency.MONTHLY
    if word not in Frequency.__members__:
        words = "DAILY, WEEKLY, MONTHLY and YEARLY"
        raise _Fault(f"has FREQ={_shown(word)}, which is not supported; supported are {words}")
    return Frequency[word]


def _interval(value: str, most: int) -> int:
    number = int(value) if _integer_of(value) else 0
    if not 1 <= number <= most:
        raise _Fault(f"has INTERVAL={_shown(value)}, must be from 1 to {most}")
    return number


def _check_week_start(parts: dict[str, str], interval: int) -> None:
    start = parts.get("WKST", "MO")
    if start not in WEEKDAY_CODES:
        raise _Fault(f"has WKST={_shown(start)}, must be MO")
    if start != "MO" and interval > 1:
        raise _unsupported(f"WKST={start} with INTERVAL={interval}")


def _days(parts: dict[str, str], *, monthly: bool) -> tuple[tuple[int, ...], int | None, Skip]:
    """Return the weekdays, their ordinal, and the treatment of months without them."""
    word = parts.get("SKIP", "OMIT")
    if word not in Skip.__members__:
        raise _unsupported(f"SKIP={_shown(word)}")
    # The default of other rules than monthly ones, to which it makes no difference.
    skip = Skip[word] if monthly else Skip.BACKWARD
    if "BYDAY" not in parts:
        return (), None, skip
    found = [_day_of(each) for each in parts["BYDAY"].split(",")]
    days = [each for each in found if each is not None]
    shown = f"BYDAY={_shown(parts['BYDAY'])}"
    if len(days) < len(found):
        raise _Fault(f"has {shown}, must be days MO to SU")
    weekdays = tuple(sorted({WEEKDAY_CODES.index(each[2]) + 1 for each in days}))
    ordinals = {int(each[1]) if each[1] else None for each in days}
    nth = ordinals.pop()
    if ordinals:
        raise _Fault(f"has {shown}, must have the same ordinal for all days")
    if not monthly:
        if nth is not None:
            raise _Fault(f"has {shown}, which has an ordinal: say FREQ=MONTHLY")
        return weekdays, None, skip
    if nth is None:
        raise _Fault(f"has {shown}, must have an ordinal 1 to 5 or -1, or FREQ=WEEKLY")
    if nth == -1:
        # The last one of a weekday: the fifth one, or in a month without that, the last.
        return weekdays, 5, Skip.BACKWARD
    if not 1 <= nth <= 5:
        raise _Fault(f"has {shown}, must have an ordinal 1 to 5 or -1")
    # SKIP moves a day of the month only (RFC 7529 section 4.1).
    return weekdays, nth, Skip.OMIT


def _month_day(parts: dict[str, str], skip: Skip) -> tuple[int, Skip]:
    written = parts["BYMONTHDAY"].split(",")
    shown = f"BYMONTHDAY={_shown(parts['BYMONTHDAY'])}"
    if not all(_integer_of(each) for each in written):
        raise _Fault(f"has {shown}, must be a day 1 to 31 or -1")
    days = sorted({int(each) for each in written})
    if "BYSETPOS" in parts:
        last = days[-1]
        if _int_or_none(parts["BYSETPOS"]) != -1 or last > 31 or days != list(range(28, last + 1)):
            raise _unsupported("BYSETPOS")
        return last, Skip.BACKWARD
    if len(days) > 1:
        raise _Fault(f"has {shown}, must be one day")
    day = days[0]
    if day == -1:
        return 31, Skip.BACKWARD
    if not 1 <= day <= 31:
        raise _Fault(f"has {shown}, must be a day 1 to 31 or -1")
    return day, skip


def _month(parts: dict[str, str], *, yearly: bool) -> int | None:
    written = parts.get("BYMONTH")
    if written is None:
        if yearly:
            raise _Fault("is yearly, so it needs BYMONTH")
        return None
    if not yearly:
        raise _unsupported("BYMONTH without FREQ=YEARLY")
    month = _int_or_none(written)
    if month is None or not 1 <= month <= _MONTHS_A_YEAR:
        raise _Fault(f"has BYMONTH={_shown(written)}, must be one month 1 to 12")
    return month


def _until(written: str | None) -> str | None:
    if written is None:
        return None
    found = _until_of(written)
    if found is not None:
        text = f"{found[1]}-{found[2]}-{found[3]}"
        if found[4] is None:
            if parse_date(text):
                return text
        else:
            text += f"T{found[4]}:{found[5]}:{found[6]}{found[7]}"
            if parse_datetime(text):
                return text
    form = "YYYYMMDD, YYYYMMDDTHHMMSS or YYYYMMDDTHHMMSSZ"
    raise _Fault(f"has UNTIL={_shown(written)}, must be {form}")


def _int_or_none(text: str) -> int | None:
    """Return a written integer of at most three digits, or None."""
    return int(text) if _integer_of(text) else None
