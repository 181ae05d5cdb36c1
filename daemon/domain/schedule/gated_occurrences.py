"""The occurrences of a schedule that has a gate, each with its verdict, in order.

Preview, the coming runs and the comparison of two schedules list them with `gated_occurrences`. A
save asks `check_save` whether anything would be sent. A schedule with neither a gate nor a policy
that skips local times pays for none of it: `Schedule.occurrences` lists its occurrences.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from daemon.domain.schedule.clock_changes import LATEST
from daemon.domain.schedule.gate import Gate, judge_event
from daemon.domain.schedule.gate_conditions import later, reading
from daemon.domain.schedule.schedule import EventKind, Kind, Schedule, TimedEvent
from daemon.domain.schedule.send_window import CLOSED_TOO_LONG, Disposition, Verdict
from daemon.domain.schedule.timezones import zone

CHECKED_DAYS = 366
"""Days from now in which a saved recurrence must send something."""
_TICK = timedelta(microseconds=1)
_WAITS_OR_STARTS = (Disposition.SEND, Disposition.NEXT_WINDOW)


class GatedOccurrence(NamedTuple):
    """An occurrence and its verdict.

    `local` is what the clock of the schedule's zone reads at `scheduled_for`. `due_at` never
    decreases along the occurrences that start; of the others it is `scheduled_for`.
    """

    scheduled_for: datetime
    local: datetime
    disposition: Disposition
    due_at: datetime
    why: str | None


class SaveCheck(NamedTuple):
    """Why a schedule is refused, as the text after its field's name, or a note for the client."""

    fault: str | None = None
    note: str | None = None


def gated_occurrences(
    schedule: Schedule, gate: Gate | None, after: datetime, count: int
) -> list[GatedOccurrence]:
    """Return the next occurrences strictly after an instant, at most `count`."""
    return list(islice(occurrences_after(schedule, gate, after), count))


def occurrences_after(
    schedule: Schedule, gate: Gate | None, after: datetime
) -> Iterator[GatedOccurrence]:
    """Yield the occurrences strictly after an instant, in order."""
    in_zone = zone(schedule.timezone)
    due_at = after
    for event in fires_after(schedule, after):
        verdict = judge_event(schedule, gate, event)
        due = verdict.due_at
        if verdict.disposition in _WAITS_OR_STARTS:
            due = due_at = max(due_at, due)
        local = reading(event.at, in_zone)
        yield GatedOccurrence(event.at, local, verdict.disposition, due, verdict.why)


def fires_after(schedule: Schedule, after: datetime) -> Iterator[TimedEvent]:
    """Yield the FIREs strictly after an instant, in order."""
    event = schedule.event_after(after)
    while event is not None:
        if event.kind is EventKind.FIRE:
            yield event
        event = schedule.event_following(event)


def check_save(schedule: Schedule, gate: Gate, now: datetime) -> SaveCheck:
    """Return whether a schedule would send anything.

    A one-off that would be skipped is refused; the fault follows the name of its start. All other
    schedules are refused when none of their occurrences within 366 days would start or be held; the
    fault follows `send_window`. An occurrence that would wait too long counts as one that may start
    when `defer_at_most` is longer, and is noted.
    """
    last = later(now, timedelta(days=CHECKED_DAYS))
    first = next(fires_after(schedule, now), None)
    if first is None or first.at > last:
        return SaveCheck()
    if schedule.kind is Kind.ONCE:
        return _check_once(judge_event(schedule, gate, first))
    none_left = SaveCheck(f"leaves no occurrence within {CHECKED_DAYS} days")
    waits_too_long = None
    event: TimedEvent | None = first
    while event is not None and event.kind is EventKind.FIRE and event.at <= last:
        verdict = judge_event(schedule, gate, event)
        if verdict.disposition is not Disposition.SKIP:
            return SaveCheck()
        if verdict.why is not None and verdict.why.startswith(CLOSED_TOO_LONG):
            waits_too_long = verdict.why
            if gate.opening(event.at, last, event.local) is None:
                break
        event = _next_to_judge(schedule, event, verdict)
    if waits_too_long is None or gate.opening(first.at, last, first.local) is None:
        return none_left
    return SaveCheck(note=f"every run would be {waits_too_long.replace(':', '', 1)}")


def _check_once(verdict: Verdict) -> SaveCheck:
    if verdict.disposition is not Disposition.SKIP or verdict.why is None:
        return SaveCheck()
    why = verdict.why.removeprefix("skipped: ")
    return SaveCheck(f"is outside the send window ({why}), so it would be skipped")


def _next_to_judge(schedule: Schedule, event: TimedEvent, verdict: Verdict) -> TimedEvent | None:
    """Return the next FIRE that may have another verdict."""
    if schedule.every_seconds is not None and event.at < verdict.until < LATEST:
        return schedule.event_after(max(event.at, verdict.until - _TICK))
    return schedule.event_following(event)
