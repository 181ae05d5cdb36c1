"""DTSTART of a recurrence: its first match at or after its anchor.

The rules are in docs/semantics.md#occurrences.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from daemon.domain.schedule.daylight_saving import DaylightSaving, passes
from daemon.domain.schedule.recurrence import Frequency, Rule, Skip, next_match
from daemon.domain.schedule.timezones import resolve, zone

_TICK = timedelta(microseconds=1)


class Pattern(NamedTuple):
    """A rule without its first date; fields as in `Rule`.

    `month` (1 to 12) is set for a rule that counts years: its first match is in that month.
    """

    frequency: Frequency
    interval: int
    time: time
    weekdays: tuple[int, ...] = ()
    month_day: int | None = None
    nth: int | None = None
    skip: Skip = Skip.BACKWARD
    month: int | None = None


def pattern_of(rule: Rule) -> Pattern:
    """Return the rule without its first date."""
    return Pattern(
        rule.frequency,
        rule.interval,
        rule.time,
        rule.weekdays,
        rule.month_day,
        rule.nth,
        rule.skip,
    )


class Beginning(NamedTuple):
    """A rule with its first occurrence: UTC instant and naive local time."""

    rule: Rule
    at: datetime
    local: datetime


def begin_at(
    pattern: Pattern,
    timezone: str,
    anchor_at: datetime,
    anchor_local: datetime,
    policy: DaylightSaving | None = None,
) -> Beginning | None:
    """Return the first match at or after the anchor, as if the interval were 1, or None.

    Of a pattern with a month, the interval is as if it were 12 months.

    At the anchor's own wall-clock time the first match is the anchor's instant, also in the second
    pass of an overlap.
    """
    return _begin(pattern, timezone, anchor_local.toordinal(), anchor_at, anchor_local, policy)


def begin_after(
    pattern: Pattern, timezone: str, now: datetime, policy: DaylightSaving | None = None
) -> Beginning | None:
    """Return the first match strictly after an instant."""
    try:
        ordinal = now.astimezone(zone(timezone)).toordinal()
    except OverflowError:  # within a day of the calendar's two ends
        ordinal = now.toordinal()
    return _begin(pattern, timezone, ordinal, now, None, policy)


def anchor_without_start(
    beginning: Beginning, timezone: str, policy: DaylightSaving | None
) -> tuple[datetime, datetime]:
    """Return the anchor, instant and local time, of a recurrence that was given no start.

    The anchor is the first occurrence. If that is the first of two passes, the anchor is the
    microsecond before it: an occurrence at the anchor's own wall-clock time is not doubled.
    """
    at, local = beginning.at, beginning.local
    if policy is not None and at in passes(local, zone(timezone), policy)[:-1]:
        return at - _TICK, local - _TICK
    return at, local


def _begin(
    pattern: Pattern,
    timezone: str,
    ordinal: int,
    earliest: datetime,
    anchor_local: datetime | None,
    policy: DaylightSaving | None,
) -> Beginning | None:
    # Start on the date before: its nominal time can fall after the anchor because of a gap.
    ordinal = max(1, ordinal - 1)
    probe = _rule(pattern, 1, date.fromordinal(ordinal))
    if pattern.month is not None:
        probe = _rule(pattern, 12, date(max(1, probe.first_on.year - 1), pattern.month, 1))
    in_zone = zone(timezone)
    while True:
        match = next_match(probe, ordinal)
        if match is None:
            return None
        day = date.fromordinal(match)
        local = datetime.combine(day, pattern.time)
        try:
            if local == anchor_local:
                instants: tuple[datetime, ...] = (earliest,)
            elif policy is None:
                instants = (resolve(local, in_zone),)
            else:
                instants = passes(local, in_zone, policy)
        except OverflowError:
            if day.year > 1:
                return None
            ordinal = match + 1
            continue
        for at in instants:
            if at > earliest or (at == earliest and anchor_local is not None):
                return Beginning(_rule(pattern, pattern.interval, day), at, local)
        ordinal = match + 1


def _rule(pattern: Pattern, interval: int, first_on: date) -> Rule:
    return Rule(
        pattern.frequency,
        interval,
        first_on,
        pattern.time,
        pattern.weekdays,
        pattern.month_day,
        pattern.nth,
        pattern.skip,
    )
