"""The occurrences whose local time a clock change skips or repeats, and those that are left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from daemon.domain.schedule.clock_changes import ClockChange, clock_changes
from daemon.domain.schedule.daylight_saving import DEFAULT, Fold, Gap, is_in_gap
from daemon.domain.schedule.schedule import EventKind, Schedule, TimedEvent
from daemon.domain.schedule.timezones import wall_clock, zone

AHEAD = timedelta(days=366)
MOST_AFFECTED = 10
_DAY = timedelta(days=1)


class Affected(NamedTuple):
    """A local time of a schedule that clocks show never (a gap) or twice (a fold).

    `policy` is the schedule's word for that case, and `at` the instants that are sent: two with
    `Fold.BOTH`, none with `Gap.SKIP`.
    """

    local: datetime
    policy: Gap | Fold
    at: tuple[datetime, ...]

    @property
    def kind(self) -> str:
        """Return `gap` or `fold`."""
        return "gap" if isinstance(self.policy, Gap) else "fold"


def dst_affected(schedule: Schedule, after: datetime) -> list[Affected]:
    """Return the affected occurrences within 366 days after an aware instant, at most 10."""
    found: list[Affected] = []
    if not schedule.has_fires or schedule.every_seconds is not None:
        return found
    try:
        until = after + AHEAD
        # An instant is at most a day away from the change that affects its local time.
        changes = clock_changes(schedule.timezone, after - _DAY, until + _DAY)
    except OverflowError:  # within a year of the calendar's two ends
        return found
    for change in changes:
        for local in _locals_within(schedule, change):
            item = _affected(schedule, change, local, after, until)
            if item is not None:
                found.append(item)
                if len(found) == MOST_AFFECTED:
                    return found
    return found


def gap_cause(schedule: Schedule, event: TimedEvent) -> str | None:
    """Return why `Gap.SKIP` leaves out a FIRE, as the cause of a skipped run; None if it runs."""
    policy = schedule.dst
    if policy is None or policy.gap is not Gap.SKIP or event.kind is not EventKind.FIRE:
        return None
    if schedule.every_seconds is not None or not is_in_gap(event.local, zone(schedule.timezone)):
        return None
    if _is_shared(schedule, event.at):
        return None
    return f"skipped: {_clock_text(event.local.time())} does not exist on {event.local.date()}"


def _locals_within(schedule: Schedule, change: ClockChange) -> Iterator[datetime]:
    """Yield the local times among those that a change affects at which the schedule may fire."""
    if schedule.rule is None:
        if change.start <= schedule.anchor_local < change.end:
            yield schedule.anchor_local
        return
    for ordinal in range(change.start.toordinal(), change.end.toordinal() + 1):
        local = datetime.combine(date.fromordinal(ordinal), schedule.rule.time)
        if change.start <= local < change.end:
            yield local


def _affected(
    schedule: Schedule, change: ClockChange, local: datetime, after: datetime, until: datetime
) -> Affected | None:
    at = tuple(at for at in schedule.instants_of(local) if after < at <= until)
    policy = schedule.dst or DEFAULT
    if not at or (change.is_gap and _is_shared(schedule, at[0])):
        return None
    if not change.is_gap:
        return Affected(local, policy.fold, at)
    return Affected(local, policy.gap, () if policy.gap is Gap.SKIP else at)


def _is_shared(schedule: Schedule, at: datetime) -> bool:
    """Return whether the instant of a time in a gap is also that of another date of the schedule.

    That is so where a zone left out a whole day, such as 30 December 2011 in Pacific/Apia. The
    occurrence is then that of the date which exists.
    """
    if schedule.rule is None:
        return False
    shown = wall_clock(at, zone(schedule.timezone))
    return shown.time() == schedule.rule.time and schedule.instants_of(shown) == (at,)


def _clock_text(of: time) -> str:
    return of.isoformat() if of.second or of.microsecond else of.isoformat("minutes")
