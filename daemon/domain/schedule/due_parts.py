"""Due occurrences in parts that are decided alike, and the rows of those that get no attempt.

Only `gated_misfire` uses this module. A part of a continuous window may hold thousands of
occurrences; they are counted by arithmetic. Every other part is a single occurrence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from daemon.domain.schedule.misfire import LISTED_AT_MOST, Stretch
from daemon.domain.schedule.schedule import Schedule, TimedEvent
from daemon.domain.schedule.send_window import Verdict

_TICK = timedelta(microseconds=1)


class Part(NamedTuple):
    """The FIREs from `first` to `last`, both included.

    They are due at `due_at`, or with `at_own_times` at their own instants, but not before it.
    """

    first: TimedEvent
    last: TimedEvent
    due_at: datetime
    at_own_times: bool

    def due_of(self, event: TimedEvent) -> datetime:
        """Return from when one of the FIREs is due."""
        return max(self.due_at, event.at) if self.at_own_times else self.due_at


class Passed(NamedTuple):
    """An occurrence that gets a row and no attempt; its status is missed, skipped or held."""

    event: TimedEvent
    due_at: datetime
    status: str
    cause: str


class PassedInBulk(NamedTuple):
    """More than a hundred occurrences with one status and cause, among which others may lie."""

    stretch: Stretch
    status: str
    cause: str


class DueEvent(NamedTuple):
    """An event, and the instant from which it is due."""

    event: TimedEvent
    due_at: datetime


@dataclass(frozen=True, slots=True)
class GatedStretch:
    """The decision about the due occurrences of a schedule.

    `fire` starts now. `passed` get a row and no attempt, oldest first; where more than a hundred
    share a cause, it holds the newest of them, and `bulk` their number. `next` is the event to arm:
    the one that follows, due already if `backlog`; or, with `deferred` as the cause, one that could
    not start in time and waits for an opening.
    """

    fire: DueEvent | None = None
    next: DueEvent | None = None
    deferred: str | None = None
    backlog: bool = False
    passed: tuple[Passed, ...] = ()
    bulk: tuple[PassedInBulk, ...] = ()


class Rows:
    """Collects parts by status and cause."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._parts: dict[tuple[str, str], list[Part]] = {}

    def add(self, part: Part | None, status: str, cause: str) -> None:
        """Add a part, if there is one; `cause` begins with the status."""
        if part is not None:
            self._parts.setdefault((status, cause), []).append(part)

    def listed(self) -> tuple[tuple[Passed, ...], tuple[PassedInBulk, ...]]:
        """Return the rows, oldest first, and what is counted instead.

        Of more than a hundred occurrences with one status and cause, only the newest gets a row.
        """
        rows: list[Passed] = []
        bulk: list[PassedInBulk] = []
        for (status, cause), added in self._parts.items():
            parts = sorted(added, key=lambda part: part.first.at)
            count = sum(self._schedule.count_fires(part.first, part.last) for part in parts)
            newest = parts[-1]
            if count > LISTED_AT_MOST:
                stretch = Stretch(parts[0].first.at, newest.last.at, count)
                bulk.append(PassedInBulk(stretch, status, cause))
                parts = [newest._replace(first=newest.last)]
            for part in parts:
                rows += (
                    Passed(event, part.due_of(event), status, cause)
                    for event in events_of(self._schedule, part)
                )
        return tuple(sorted(rows, key=lambda row: row.event.at)), tuple(bulk)


def events_of(schedule: Schedule, part: Part) -> Iterator[TimedEvent]:
    """Yield the FIREs of a part, in order."""
    event = part.first
    while event.at < part.last.at:
        yield event
        event = schedule.event_following(event) or part.last
    yield part.last


def last_alike(
    schedule: Schedule, event: TimedEvent, verdict: Verdict, now: datetime
) -> TimedEvent:
    """Return the last FIRE until `now` that has the verdict of `event`, with all in between."""
    until = min(now, verdict.until - _TICK)
    if schedule.every_seconds is None or until <= event.at:
        return event
    return schedule.latest_fire(until) or event


def split(
    schedule: Schedule, part: Part | None, before: datetime
) -> tuple[Part | None, Part | None]:
    """Return the FIREs of a part that are due before an instant, and those that are not."""
    if part is None or part.due_of(part.last) < before:
        return part, None
    if part.due_of(part.first) >= before:
        return None, part
    last = schedule.latest_fire(before - _TICK) or part.first
    return part._replace(last=last), part._replace(first=schedule.event_following(last) or last)


def without_last(schedule: Schedule, part: Part) -> Part | None:
    """Return a part without its last FIRE, or None where that is the only one."""
    if part.first == part.last:
        return None
    return part._replace(last=schedule.latest_fire(part.last.at - _TICK) or part.first)
