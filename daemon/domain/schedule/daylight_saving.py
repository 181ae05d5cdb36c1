"""Daylight saving: the meaning of a local time that a clock change skips or repeats.

A schedule without a policy takes `Gap.SHIFT` and `Fold.FIRST` by a shorter way, which is
`timezones.resolve`. A schedule with a policy has one occurrence for every matching local date, or
two with `Fold.BOTH`; instants strictly increase.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from daemon.domain.schedule.recurrence import Rule, next_match
from daemon.domain.schedule.timezones import resolve, zone

if TYPE_CHECKING:
    from daemon.domain.schedule.schedule import Schedule, TimedEvent

_NO_TIME = timedelta(0)


class Gap(StrEnum):
    """The meaning of a local time that a clock change skips; the default is SHIFT."""

    SHIFT = "shift"  # RFC 5545 section 3.3.5: the offset before the gap, so a later clock time
    BEFORE = "before"  # the offset after the gap, so an earlier clock time
    SKIP = "skip"  # the instant of SHIFT, at which nothing is sent


class Fold(StrEnum):
    """The meaning of a local time that a clock change repeats; the default is FIRST."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"  # two occurrences


class DaylightSaving(NamedTuple):
    """A schedule's policy for local times that clocks show never or twice."""

    gap: Gap = Gap.SHIFT
    fold: Fold = Fold.FIRST


DEFAULT = DaylightSaving()
"""The policy of a schedule whose `dst` is None."""


def passes(local: datetime, in_zone: ZoneInfo, policy: DaylightSaving) -> tuple[datetime, ...]:
    """Return the UTC instants that a naive wall-clock time means: two with `Fold.BOTH`, else one.

    Raises:
        OverflowError: Outside the years 1 to 9999.
    """
    before, after = _by_both_offsets(local, in_zone)
    if before == after:
        return (before,)
    if before > after:
        return (after if policy.gap is Gap.BEFORE else before,)
    if policy.fold is Fold.BOTH:
        return before, after
    return (after if policy.fold is Fold.SECOND else before,)


def is_in_gap(local: datetime, in_zone: ZoneInfo) -> bool:
    """Return whether no clock of the zone shows a naive wall-clock time."""
    before, after = _by_both_offsets(local, in_zone)
    return before > after


def _by_both_offsets(local: datetime, in_zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the instants by the offsets before and after a clock change, equal without one.

    In an overlap they are the first and the second pass (PEP 495).
    """
    offset = in_zone.utcoffset(local.replace(fold=1)) or _NO_TIME
    return resolve(local, in_zone), datetime.combine(local, local.time(), UTC) - offset


def fires_from(
    schedule: Schedule, policy: DaylightSaving, rule: Rule, ordinal: int, later_than: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yield `at` and `local` of each FIRE on local dates from `ordinal` on, later than an instant.

    The schedule's anchor is the only instant of its own wall-clock time, and nothing precedes it:
    the anchor can be the second pass, or lie between the two passes of the rule's time of day.
    """
    in_zone = zone(schedule.timezone)
    earliest, ends_on = schedule.anchor_at, schedule.ends_on
    ends_at = schedule.ends_at if ends_on is None else None
    while (match := next_match(rule, ordinal)) is not None:
        day = date.fromordinal(match)
        if ends_on is not None and day > ends_on:
            return
        local = datetime.combine(day, rule.time)
        if local == schedule.anchor_local:
            instants: tuple[datetime, ...] = (earliest,)
        else:
            try:
                instants = passes(local, in_zone, policy)
            except OverflowError:
                return
        for at in instants:
            if ends_at is not None and at > ends_at:
                return
            if at > later_than and at >= earliest:
                yield at, local
                later_than = at
        ordinal = match + 1


def is_first_pass(schedule: Schedule, rule: Rule, event: TimedEvent) -> bool:
    """Return whether an occurrence is the first of two, so that the second one follows."""
    policy, local = schedule.dst, event.local
    if policy is None or policy.fold is not Fold.BOTH or local.time() != rule.time:
        return False
    instants = passes(local, zone(schedule.timezone), policy)
    return len(instants) == 2 and instants[0] == event.at
