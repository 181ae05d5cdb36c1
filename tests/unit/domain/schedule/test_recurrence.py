"""Recurrence on local dates, against a walk over every day and python-dateutil's rrule."""

from __future__ import annotations

import calendar
import sys
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from dateutil import rrule
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.domain.schedule.recurrence import (
    LAST_ORDINAL,
    Frequency,
    Rule,
    Skip,
    count_matches,
    last_match,
    next_match,
)

D, W, M = Frequency.DAILY, Frequency.WEEKLY, Frequency.MONTHLY
NINE = time(9)


def is_match(rule: Rule, day: date) -> bool:
    """The definition, spelled out for one day (docs/semantics.md#occurrences)."""
    first = rule.first_on
    if day < first:
        return False
    if rule.frequency is D:
        on_step = (day - first).days % rule.interval == 0
        return on_step and (not rule.weekdays or day.isoweekday() in rule.weekdays)
    if rule.frequency is W:
        mondays = [each - timedelta(days=each.weekday()) for each in (first, day)]
        weeks = (mondays[1] - mondays[0]).days // 7
        return weeks % rule.interval == 0 and day.isoweekday() in rule.weekdays
    months = (day.year - first.year) * 12 + day.month - first.month
    if months % rule.interval:
        return False
    length = calendar.monthrange(day.year, day.month)[1]
    if rule.nth is None:
        assert rule.month_day is not None
        if rule.month_day > length:
            return rule.skip is Skip.BACKWARD and day.day == length
        return day.day == rule.month_day
    if day.isoweekday() not in rule.weekdays:
        return False
    same = list(range((day.day - 1) % 7 + 1, length + 1, 7))
    if rule.nth > len(same):
        return rule.skip is Skip.BACKWARD and day.day == same[-1]
    return day.day == same[rule.nth - 1]


def walk(rule: Rule, start: date, days: int) -> list[date]:
    every = (start + timedelta(days=number) for number in range(days))
    return [day for day in every if is_match(rule, day)]


def expand(rule: Rule, start: date, count: int) -> list[date]:
    found: list[date] = []
    ordinal = start.toordinal()
    while len(found) < count:
        match = next_match(rule, ordinal)
        if match is None:
            break
        found.append(date.fromordinal(match))
        ordinal = match + 1
    return found


WEEKDAYS = st.sets(st.integers(1, 7), min_size=1).map(lambda days: tuple(sorted(days)))
DATES = st.dates(date(1999, 1, 1), date(2040, 12, 31))
SKIPS = st.sampled_from(Skip)


@st.composite
def rules(draw: st.DrawFn, longest: int = 40) -> Rule:
    """Rules that match their first date, as every rule does."""
    frequency = draw(st.sampled_from(Frequency))
    interval, near, skip = draw(st.integers(1, longest)), draw(DATES), draw(SKIPS)
    rest: dict[str, Any] = {"skip": skip}
    if frequency is W or (frequency is D and draw(st.booleans())):
        rest["weekdays"] = draw(WEEKDAYS)
    elif frequency is M and draw(st.booleans()):
        rest["month_day"] = draw(st.integers(1, 31))
    elif frequency is M:
        rest.update(nth=draw(st.integers(1, 5)), weekdays=draw(WEEKDAYS))
    first = walk(Rule(frequency, 1, near, NINE, **rest), near, 120)[0]
    return Rule(frequency, interval, first, NINE, **rest)


@settings(max_examples=400)
@given(rules(), st.integers(-40, 1500))
def test_matches_are_those_of_a_walk_over_every_day(rule: Rule, offset: int) -> None:
    start = rule.first_on + timedelta(days=offset)
    walked = walk(rule, start, 1200)
    assert expand(rule, start, len(walked)) == walked


@settings(max_examples=400)
@given(rules(), st.integers(-40, 900))
def test_last_match_and_count_agree_with_a_walk(rule: Rule, offset: int) -> None:
    end = rule.first_on + timedelta(days=offset)
    walked = walk(rule, rule.first_on, max(0, offset + 1))
    last = last_match(rule, end.toordinal())
    assert last == (walked[-1].toordinal() if walked else None)
    middle = rule.first_on + timedelta(days=max(0, offset) // 2)
    later = [day for day in walked if day >= middle]
    assert count_matches(rule, middle.toordinal(), end.toordinal()) == len(later)
    assert count_matches(rule, 1, end.toordinal()) == len(walked)


@settings(max_examples=300)
@given(rules(999))
def test_matches_are_those_of_dateutil(rule: Rule) -> None:
    kwargs: dict[str, Any] = {}
    if rule.frequency is not M:
        if rule.weekdays:
            kwargs["byweekday"] = [rrule.weekday(day - 1) for day in rule.weekdays]
    elif rule.nth is not None:
        nth = -1 if rule.nth == 5 and rule.skip is Skip.BACKWARD else rule.nth
        kwargs["byweekday"] = [rrule.weekday(day - 1, nth) for day in rule.weekdays]
    elif rule.skip is Skip.OMIT:
        kwargs["bymonthday"] = rule.month_day
    else:
        kwargs["bymonthday"] = [*range(28, rule.month_day or 1), rule.month_day]
        kwargs["bysetpos"] = -1
    oracle = rrule.rrule(
        {D: rrule.DAILY, W: rrule.WEEKLY, M: rrule.MONTHLY}[rule.frequency],
        dtstart=datetime.combine(rule.first_on, NINE),
        interval=rule.interval,
        wkst=rrule.MO,
        count=12,
        **kwargs,
    )
    dates = [each.date() for each in oracle]
    assert expand(rule, rule.first_on, len(dates)) == dates


def days(*texts: str) -> list[date]:
    return [date.fromisoformat(text) for text in texts]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        pytest.param(
            Rule(M, 1, date(2026, 1, 31), NINE, month_day=31),
            days("2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"),
            id="the 31st is the last day of shorter months",
        ),
        pytest.param(
            Rule(M, 1, date(2026, 1, 31), NINE, month_day=31, skip=Skip.OMIT),
            days("2026-01-31", "2026-03-31", "2026-05-31", "2026-07-31"),
            id="or there is none in them",
        ),
        pytest.param(
            Rule(M, 1200, date(1900, 2, 28), NINE, month_day=31),
            days(
                "1900-02-28", "2000-02-29", "2100-02-28", "2200-02-28", "2300-02-28", "2400-02-29"
            ),
            id="a year of a new century is a leap year every fourth time",
        ),
        pytest.param(
            Rule(M, 12, date(2024, 2, 29), NINE, month_day=29),
            days("2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"),
            id="29 February every year",
        ),
        pytest.param(
            Rule(M, 12, date(2096, 2, 29), NINE, month_day=29, skip=Skip.OMIT),
            days("2096-02-29", "2104-02-29"),
            id="29 February across a year that is not a leap year",
        ),
        pytest.param(
            Rule(M, 1, date(2026, 1, 13), NINE, (2,), nth=2),
            days("2026-01-13", "2026-02-10", "2026-03-10"),
            id="second Tuesday",
        ),
        pytest.param(
            Rule(M, 1, date(2026, 1, 29), NINE, (4,), nth=5),
            days("2026-01-29", "2026-02-26", "2026-03-26", "2026-04-30"),
            id="fifth Thursday, else the fourth",
        ),
        pytest.param(
            Rule(M, 1, date(2026, 1, 29), NINE, (4,), nth=5, skip=Skip.OMIT),
            days("2026-01-29", "2026-04-30", "2026-07-30"),
            id="fifth Thursday, else none",
        ),
        pytest.param(
            Rule(M, 1, date(2026, 1, 12), NINE, (1, 4), nth=2),
            days("2026-01-12", "2026-02-09", "2026-02-12", "2026-03-09", "2026-03-12"),
            id="each weekday has its own second one, and before the first there is none",
        ),
        pytest.param(
            Rule(W, 2, date(2026, 1, 7), NINE, (1, 3)),
            days("2026-01-07", "2026-01-19", "2026-01-21", "2026-02-02"),
            id="weeks count from the first one's Monday",
        ),
        pytest.param(
            Rule(D, 2, date(2026, 1, 6), NINE, (2, 4)),
            days("2026-01-06", "2026-01-08", "2026-01-20", "2026-01-22"),
            id="every other day, where it is a Tuesday or Thursday",
        ),
        pytest.param(
            Rule(D, 999, date(9996, 1, 1), NINE),
            days("9996-01-01", "9998-09-26"),
            id="the calendar ends",
        ),
    ],
)
def test_examples(rule: Rule, expected: list[date]) -> None:
    found = expand(rule, rule.first_on, len(expected) + (rule.first_on.year > 9000))
    assert found == expected


@pytest.mark.parametrize("frequency", list(Frequency))
def test_no_match_lies_beyond_the_calendar(frequency: Frequency) -> None:
    rule = Rule(frequency, 1, date(2026, 1, 1), NINE, (4,) if frequency is W else (), 1)
    assert next_match(rule, LAST_ORDINAL + 1) is None
    assert last_match(rule, LAST_ORDINAL + 5) is not None
    assert last_match(rule, date(2025, 12, 31).toordinal()) is None


@pytest.mark.parametrize(
    "rule",
    [
        Rule(D, 3, date(1990, 1, 1), NINE),
        Rule(D, 3, date(1990, 1, 1), NINE, (1, 5)),
        Rule(W, 3, date(1990, 1, 1), NINE, (1, 5)),
        Rule(M, 3, date(1990, 1, 31), NINE, month_day=31),
        Rule(M, 3, date(1990, 1, 8), NINE, (1,), nth=2),
    ],
    ids=str,
)
def test_the_cost_does_not_grow_with_the_age_of_the_schedule(rule: Rule) -> None:
    def steps(start: date) -> int:
        counted = 0

        def trace(frame: Any, *_: object) -> Any:
            nonlocal counted
            # Other frames appear now and then, such as those of a garbage collector's callbacks.
            counted += frame.f_code.co_filename == next_match.__code__.co_filename
            return trace

        sys.settrace(trace)
        try:
            next_match(rule, start.toordinal())
        finally:
            sys.settrace(None)
        return counted

    young = max(steps(date(1990, 2, 1) + timedelta(days=day)) for day in range(100))
    old = max(steps(date(9000, 2, 1) + timedelta(days=day)) for day in range(100))
    assert 0 < old <= young + 10
