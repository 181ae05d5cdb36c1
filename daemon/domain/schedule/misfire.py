"""Late occurrences: the one that fires, the missed ones and the coalesced ones.

The rules are in docs/semantics.md#runs. The words misfire_grace_time and coalesce are those of
APScheduler. No other module judges lateness, and `now` is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.domain.schedule.schedule import EventKind, Schedule, TimedEvent

LISTED_AT_MOST = 100
"""Maximum missed or skipped occurrences of a stretch that are listed one by one."""
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Many occurrences as one: the instants of the first and the last, and the count."""

    first: datetime
    last: datetime
    count: int


@dataclass(frozen=True, slots=True)
class Late:
    """The decision about a due stretch of occurrences.

    `missed` are later than the grace, `skipped` are coalesced into `fire`. Each holds all of its
    occurrences, oldest first. With more than 100 it holds only the newest, and `bulk_missed` or
    `bulk_skipped` holds the count. `next` is the event to arm, and `backlog` is whether that event
    is already due. A window's opening or closing is never part of a stretch.
    """

    fire: TimedEvent | None
    next: TimedEvent | None
    backlog: bool = False
    missed: tuple[TimedEvent, ...] = ()
    skipped: tuple[TimedEvent, ...] = ()
    bulk_missed: Stretch | None = None
    bulk_skipped: Stretch | None = None


def decide(
    schedule: Schedule, event: TimedEvent, now: datetime, until: datetime | None = None
) -> Late:
    """Classify the armed FIRE `event` and every FIRE after it that is due at `now`.

    With `until`, later ones are left to another decision, although they may be due.

    An occurrence later than the grace is missed. Within the grace, the newest one fires (coalesce);
    without coalesce the oldest one fires, and the next one is armed although it is due (backlog).
    """
    until = now if until is None else until
    following = schedule.event_following(event)
    grace = timedelta(seconds=schedule.misfire_grace_time)
    in_time = now - event.at <= grace
    alone = following is None or following.kind is not EventKind.FIRE or following.at > until
    if alone or (in_time and not schedule.coalesce):
        due = following is not None and following.at <= now
        if in_time:
            return Late(fire=event, next=following, backlog=due)
        return Late(fire=None, next=following, backlog=due, missed=(event,))

    newest = _fire_at_or_before(schedule, event, until)
    if in_time:
        missed: tuple[TimedEvent, ...] = ()
        bulk_missed = None
        oldest: TimedEvent | None = event
    else:
        last_missed = _fire_at_or_before(schedule, event, min(until, now - grace - _TICK))
        missed, bulk_missed = _listed(schedule, event, last_missed)
        oldest = schedule.event_following(last_missed) if last_missed.at < newest.at else None
    fire: TimedEvent | None
    skipped: tuple[TimedEvent, ...] = ()
    bulk_skipped = None
    if oldest is None:
        fire, last = None, newest
    elif schedule.coalesce and oldest.at < newest.at:
        fire = last = newest
        skipped, bulk_skipped = _listed(schedule, oldest, _before(schedule, oldest, newest))
    else:
        fire = last = oldest
    following = schedule.event_following(last)
    return Late(
        fire=fire,
        next=following,
        backlog=following is not None and following.at <= now,
        missed=missed,
        skipped=skipped,
        bulk_missed=bulk_missed,
        bulk_skipped=bulk_skipped,
    )


def _fire_at_or_before(schedule: Schedule, event: TimedEvent, until: datetime) -> TimedEvent:
    """Return the newest FIRE not later than `until`; `event` itself if none is newer than it."""
    newest = schedule.latest_fire(until)
    return newest if newest is not None and newest.at > event.at else event


def _before(schedule: Schedule, oldest: TimedEvent, newest: TimedEvent) -> TimedEvent:
    return _fire_at_or_before(schedule, oldest, newest.at - _TICK)


def _listed(
    schedule: Schedule, first: TimedEvent, last: TimedEvent
) -> tuple[tuple[TimedEvent, ...], Stretch | None]:
    """Return all FIREs from first to last, or the newest one and the stretch."""
    listed = [first]
    while listed[-1].at < last.at:
        if len(listed) == LISTED_AT_MOST:
            count = schedule.count_fires(first, last)
            return (last,), Stretch(first.at, last.at, count)
        following = schedule.event_following(listed[-1])
        if following is None or following.kind is not EventKind.FIRE:
            break
        listed.append(following)
    return tuple(listed), None
