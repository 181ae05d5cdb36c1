"""A schedule as RFC 5545 text (section 3.3.10), for readers and for iCalendar.

The text is derived from the columns, which with the body are the truth. It expresses the local
dates; each calendar program decides about daylight-saving gaps itself. The rule of a recurrence can
be given back as `recurring_config.rrule`, beside its DTSTART as scheduled_at.

python-dateutil is the independent check of this text and of `recurrence`: the property tests
expand both with `dateutil.rrule` and compare the dates, the benchmark compares the speed, and the
auditor compares one campaign in a hundred. Firing does not expand rules with it: `dateutil.rrule`
steps through all occurrences since DTSTART, so that its cost grows with the age of a schedule, and
it has no SKIP=BACKWARD (RFC 7529).
"""

from __future__ import annotations

from datetime import datetime

from daemon.domain.schedule.recurrence import Frequency, Rule, Skip
from daemon.domain.schedule.schedule import EventKind, Kind, Schedule
from daemon.domain.schedule.timezones import resolve, zone

WEEKDAY_CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_UTC_NAMES = frozenset({"UTC", "Etc/UTC"})
# RFC 5545 dates before the first full year of the Gregorian calendar are ambiguous.
_FIRST_YEAR = 1583


def rrule_text(schedule: Schedule) -> str | None:
    """Return DTSTART and RRULE on a line each, or None where RFC 5545 cannot express the schedule.

    RFC 5545 cannot express a schedule without timed runs, times with fractions of a second, a first
    occurrence in the second pass of an overlap, a policy for daylight saving, and years before
    1583.
    """
    if schedule.dst is not None:
        return None
    first = schedule.first_event()
    if first is None or not schedule.has_fires:
        return None
    if first.at.microsecond or first.local.microsecond or first.local.year < _FIRST_YEAR:
        return None
    until = _until_text(schedule)
    if schedule.every_seconds is not None:
        rule = f"FREQ=SECONDLY;INTERVAL={schedule.every_seconds}"
        return f"DTSTART:{_compact(first.at)}Z\nRRULE:{rule}{until}"
    if resolve(first.local, zone(schedule.timezone)) != first.at:
        return None
    rule = "FREQ=DAILY;COUNT=1" if schedule.rule is None else _rule_text(schedule.rule) + until
    if schedule.timezone in _UTC_NAMES:
        start = f"DTSTART:{_compact(first.local)}Z"
    else:
        start = f"DTSTART;TZID={schedule.timezone}:{_compact(first.local)}"
    return f"{start}\nRRULE:{rule}"


def _compact(moment: datetime) -> str:
    return moment.isoformat()[:19].replace("-", "").replace(":", "")


def _until_text(schedule: Schedule) -> str:
    """Return UNTIL as the last occurrence: UNTIL holds neither fractions of seconds nor dates."""
    if schedule.ends_at is None or schedule.kind is Kind.ONCE:
        return ""
    last = schedule.latest_fire(schedule.ends_at)
    if last is None or last.kind is not EventKind.FIRE:
        return ""
    return f";UNTIL={_compact(last.at)}Z"


def _rule_text(rule: Rule) -> str:
    parts = [f"FREQ={rule.frequency.name}"]
    if rule.interval != 1:
        parts.append(f"INTERVAL={rule.interval}")
    if rule.frequency is Frequency.MONTHLY:
        parts.append(_month_part(rule))
    elif rule.weekdays:
        parts.append("BYDAY=" + ",".join(WEEKDAY_CODES[day - 1] for day in rule.weekdays))
    return ";".join(parts)


def _month_part(rule: Rule) -> str:
    backward = rule.skip is Skip.BACKWARD
    if rule.nth is not None:
        # In a month without a fifth weekday the last one counts; a fifth one is the last as well.
        nth = -1 if rule.nth == 5 and backward else rule.nth
        return "BYDAY=" + ",".join(f"{nth}{WEEKDAY_CODES[day - 1]}" for day in rule.weekdays)
    day = rule.month_day or 1
    if day <= 28 or not backward:
        return f"BYMONTHDAY={day}"
    if day == 31:
        return "BYMONTHDAY=-1"
    days = ",".join(str(each) for each in range(28, day + 1))
    return f"BYMONTHDAY={days};BYSETPOS=-1"
