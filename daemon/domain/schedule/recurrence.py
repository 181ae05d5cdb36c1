"""Recurrence as arithmetic on local dates, without time zones, clocks or request bodies.

A rule matches local dates. The next match, the last match and the count are computed from the
rule's first date by division, so the cost does not grow with the age of a schedule. Dates are
proleptic Gregorian ordinals (`date.toordinal`): ordinal 1 is a Monday. `Skip` decides about months
without the wanted day (RFC 7529 section 4.1; docs/semantics.md#occurrences).
"""

from __future__ import annotations

from array import array
from datetime import date, time
from enum import StrEnum
from functools import cache
from itertools import accumulate
from typing import NamedTuple

LAST_ORDINAL = date.max.toordinal()
# Months are counted from January of the year 0. The calendar repeats after 400 years. Tables hold
# the length of every month of these years and the days before it, which is faster than `date`.
_LAST_MONTH = 9999 * 12 + 11
_CYCLE = 400 * 12
_CYCLE_DAYS = 146_097
_LENGTHS = bytes(
    length + (index == 1 and year % 4 == 0 and (year % 100 != 0 or year == 0))
    for year in range(400)
    for index, length in enumerate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31))
)
_BEFORE = array("l", accumulate(_LENGTHS, initial=-366))
"""The ordinal of the day before each month of the first cycle; the year 0 is before day 1."""


class Frequency(StrEnum):
    """The unit that the interval counts."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class Skip(StrEnum):
    """The treatment of a month without the wanted day; the default is BACKWARD."""

    BACKWARD = "backward"  # the month's last day, or the weekday's last one
    OMIT = "omit"  # as in RFC 5545: no occurrence in that month


class Rule(NamedTuple):
    """A calendar recurrence in local time.

    `first_on` is the local date of the first occurrence (DTSTART's date) and matches the rule;
    intervals count from it: days from its date, weeks from its Monday, months from its month.
    `weekdays` are sorted ISO numbers (Monday 1). Empty means no limit (daily) or unused (monthly by
    day); weekly rules and `nth` rules always have weekdays.
    """

    frequency: Frequency
    interval: int
    first_on: date
    time: time
    weekdays: tuple[int, ...] = ()
    month_day: int | None = None
    nth: int | None = None
    skip: Skip = Skip.BACKWARD


def next_match(rule: Rule, ordinal: int) -> int | None:
    """Return the first matching date at or after `ordinal`, or None after the calendar's end."""
    first = rule.first_on.toordinal()
    if ordinal < first:
        ordinal = first
    interval = rule.interval
    if rule.frequency is Frequency.DAILY:
        ordinal = first - (first - ordinal) // interval * interval
        if rule.weekdays:
            if interval == 1:
                ordinal += _days_to(rule.weekdays)[(ordinal - 1) % 7]
            else:
                # Weekdays repeat after seven steps, and the first date is one of them.
                for _ in range(7):
                    if (ordinal - 1) % 7 + 1 in rule.weekdays:
                        break
                    ordinal += interval
    elif rule.frequency is Frequency.WEEKLY:
        ordinal = _next_weekly(rule, first, ordinal)
    else:
        return _next_monthly(rule, ordinal)
    return ordinal if ordinal <= LAST_ORDINAL else None


def last_match(rule: Rule, ordinal: int) -> int | None:
    """Return the last matching date at or before `ordinal`, or None before the first one."""
    first = rule.first_on.toordinal()
    if ordinal < first:
        return None
    ordinal = min(ordinal, LAST_ORDINAL)
    interval = rule.interval
    if rule.frequency is Frequency.DAILY:
        ordinal -= (ordinal - first) % interval
        if rule.weekdays:
            for _ in range(7):
                if (ordinal - 1) % 7 + 1 in rule.weekdays:
                    break
                ordinal -= interval
        return ordinal
    if rule.frequency is Frequency.WEEKLY:
        return _last_weekly(rule, first, ordinal)
    return _last_monthly(rule, first, ordinal)


def count_matches(rule: Rule, first: int, last: int) -> int:
    """Return the number of matching dates in first..last, both included."""
    return _rank(rule, last) - _rank(rule, first - 1)


def _next_weekly(rule: Rule, first: int, ordinal: int) -> int:
    monday = first - (first - 1) % 7
    week, day = divmod(ordinal - monday, 7)
    over = week % rule.interval
    if not over:
        days = _days_to(rule.weekdays)[day]
        if day + days < 7:
            return ordinal + days
    return monday + (week - over + rule.interval) * 7 + rule.weekdays[0] - 1


def _last_weekly(rule: Rule, first: int, ordinal: int) -> int:
    monday = first - (first - 1) % 7
    week, day = divmod(ordinal - monday, 7)
    over = week % rule.interval
    if not over:
        for weekday in reversed(rule.weekdays):
            if weekday <= day + 1:
                return monday + week * 7 + weekday - 1
        over = rule.interval
    return monday + (week - over) * 7 + rule.weekdays[-1] - 1


def _next_monthly(rule: Rule, ordinal: int) -> int | None:
    if ordinal > LAST_ORDINAL:
        return None
    interval = rule.interval
    first, day = rule.first_on, date.fromordinal(ordinal)
    month = day.year * 12 + day.month - 1
    if over := (month - first.year * 12 - first.month + 1) % interval:
        month += interval - over
    if rule.nth is not None:
        return _next_nth(rule, month, ordinal)
    wanted, backward = rule.month_day or 1, rule.skip is Skip.BACKWARD
    # Only omitted months need more than two rounds; the longest wait is for a 29 February.
    while month <= _LAST_MONTH:
        cycle, index = divmod(month, _CYCLE)
        length = _LENGTHS[index]
        if wanted <= length or backward:
            match = cycle * _CYCLE_DAYS + _BEFORE[index] + (wanted if wanted < length else length)
            if match >= ordinal:
                return match
        month += interval
    return None


def _next_nth(rule: Rule, month: int, ordinal: int) -> int | None:
    """Return the first matching date for the nth weekdays; `month` is the first to search."""
    days_to = _days_to(rule.weekdays)
    while month <= _LAST_MONTH:
        start, end = _nth_days(rule, month)
        if ordinal > start:
            start = ordinal
        match = start + days_to[(start - 1) % 7]
        if match <= end:
            return match
        month += rule.interval
    return None


def _nth_days(rule: Rule, month: int) -> tuple[int, int]:
    """Return the first and last day of the seven in which the nth weekdays of a month fall."""
    cycle, index = divmod(month, _CYCLE)
    before = cycle * _CYCLE_DAYS + _BEFORE[index]
    last = before + _LENGTHS[index]
    end = before + 7 * (rule.nth or 1)
    if end <= last:
        return end - 6, end
    return (end if rule.skip is Skip.OMIT else last) - 6, last


@cache
def _days_to(weekdays: tuple[int, ...]) -> bytes:
    """Return for each day of the week, Monday first, the days until the first of `weekdays`."""
    return bytes(min((weekday - 1 - day) % 7 for weekday in weekdays) for day in range(7))


def _last_monthly(rule: Rule, first: int, ordinal: int) -> int:
    base = rule.first_on.year * 12 + rule.first_on.month - 1
    day = date.fromordinal(ordinal)
    month = day.year * 12 + day.month - 1
    month -= (month - base) % rule.interval
    while month > base:
        for match in reversed(_in_month(rule, month)):
            if match <= ordinal:
                return match
        month -= rule.interval
    return max((match for match in _in_month(rule, base) if match <= ordinal), default=first)


def _in_month(rule: Rule, month: int) -> list[int]:
    """Return the sorted matching ordinals of one month."""
    if rule.nth is not None:
        start, end = _nth_days(rule, month)
        return [day for day in range(start, end + 1) if (day - 1) % 7 + 1 in rule.weekdays]
    cycle, index = divmod(month, _CYCLE)
    before = cycle * _CYCLE_DAYS + _BEFORE[index]
    last = before + _LENGTHS[index]
    match = before + (rule.month_day or 1)
    if match > last:
        return [] if rule.skip is Skip.OMIT else [last]
    return [match]


def _rank(rule: Rule, ordinal: int) -> int:
    """Return the number of matching dates from the first one to `ordinal`, both included."""
    first = rule.first_on.toordinal()
    if ordinal < first:
        return 0
    ordinal = min(ordinal, LAST_ORDINAL)
    interval = rule.interval
    if rule.frequency is Frequency.DAILY:
        steps = (ordinal - first) // interval + 1
        if not rule.weekdays:
            return steps
        rounds, rest = divmod(steps, 7)
        hits = [(first + step * interval - 1) % 7 + 1 in rule.weekdays for step in range(7)]
        return rounds * sum(hits) + sum(hits[:rest])
    if rule.frequency is Frequency.WEEKLY:
        monday = first - (first - 1) % 7
        week, day = divmod(ordinal - monday, 7)
        whole, over = divmod(week, interval)
        before_first = sum(weekday < (first - 1) % 7 + 1 for weekday in rule.weekdays)
        in_last = len(rule.weekdays) if over else sum(wd <= day + 1 for wd in rule.weekdays)
        return whole * len(rule.weekdays) + in_last - before_first
    base = rule.first_on.year * 12 + rule.first_on.month - 1
    last = date.fromordinal(ordinal)
    total = 0
    for month in range(base, last.year * 12 + last.month, interval):
        total += sum(first <= match <= ordinal for match in _in_month(rule, month))
    return total
