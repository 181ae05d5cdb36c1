"""What a send window means for edits: when an armed occurrence is due, and which one waits.

An occurrence whose own time has passed may still wait for its window to open. An edit that keeps
the occurrence keeps it armed (docs/when-it-may-fire.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from daemon.domain.campaign.model import Change, Snapshot
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.gate import gate_of, judge_event
from daemon.domain.schedule.schedule import EventKind, Schedule, TimedEvent

_TICK = timedelta(microseconds=1)


def due_at_of(snapshot: Snapshot, change: Change) -> datetime | None:
    """Return when the event that a change arms is due; None if that is the event's own time."""
    schedule = None if snapshot.current is None else snapshot.current.schedule
    if change.schedule is not None:
        schedule = change.schedule.schedule
    timer = change.timer
    if change.keep_timer:
        return snapshot.due_at
    if timer is None or schedule is None:
        return None
    due_at = later_due(schedule, timer, snapshot.calendars)
    if timer.at <= snapshot.now and is_waiting(snapshot):
        # It has waited, and is not late because of that.
        return max(due_at or timer.at, snapshot.now)
    return due_at


def later_due(
    schedule: Schedule, event: TimedEvent | None, calendars: Mapping[str, Calendar]
) -> datetime | None:
    """Return when an event to arm is due; None if that is the event's own time."""
    if event is None or event.kind is not EventKind.FIRE or not schedule.is_gated:
        return None
    due_at = judge_event(schedule, gate_of(schedule, calendars), event).due_at
    return due_at if due_at > event.at else None


def is_waiting(snapshot: Snapshot) -> bool:
    """Return whether the armed occurrence waits for its window, after its own time."""
    timer, due_at = snapshot.timer, snapshot.due_at
    if timer is None or due_at is None:
        return False
    return timer.kind is EventKind.FIRE and timer.at <= snapshot.now < due_at


def waiting_event(snapshot: Snapshot, schedule: Schedule) -> TimedEvent | None:
    """Return the occurrence that waits, if it is one of a schedule that replaces the current."""
    timer = snapshot.timer
    if timer is None or not is_waiting(snapshot):
        return None
    found = schedule.event_after(timer.at - _TICK)
    if found is not None and found.kind is EventKind.OPEN:
        found = schedule.event_following(found)
    return found if found is not None and found.at == timer.at else None
