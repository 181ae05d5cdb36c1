"""A pending run whose send window has closed, or whose first attempt is too late for its grace."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from daemon.domain.run.outcome import Held, Missed, Outcome, Reject
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.gate import Gate, gate_of
from daemon.domain.schedule.lateness import judge_late, latest_start
from daemon.domain.schedule.schedule import Schedule
from daemon.domain.schedule.send_window import Disposition
from daemon.domain.schedule.timezones import wall_clock, zone

WINDOW_CLOSED = "its send window closed"
_TICK = timedelta(microseconds=1)


class Reopening(NamedTuple):
    """From when the next attempt of a run may start, and until when."""

    at: datetime
    start_before: datetime
    open_until: datetime | None


def judge_pending(
    schedule: Schedule | None,
    calendars: Mapping[str, Calendar],
    scheduled_for: datetime,
    attempt: int,
    start_before: datetime,
    now: datetime,
) -> Outcome | Reopening:
    """Return how a run ends, or from when its next attempt may start.

    Args:
        schedule: The campaign's schedule; None if it was cleared since.
        calendars: At least those that the schedule names.
        scheduled_for: The run's own instant.
        attempt: The number of attempts that were made.
        start_before: The last instant at which the next attempt could start so far.
        now: The present, by the database's clock.
    """
    if schedule is None:
        return Reopening(now, max(now, start_before), None)
    gate, grace = gate_of(schedule, calendars), schedule.misfire_grace_time
    if attempt == 0 and start_before < now:
        due_at = start_before - timedelta(seconds=grace)
        late = judge_late(schedule.late, scheduled_for, due_at, grace, now, gate)
        if late.disposition is Disposition.HOLD:
            return Held("too late")
        if late.disposition is Disposition.SKIP:
            return Missed()
        if late.disposition is Disposition.NEXT_WINDOW:
            return _reopening(schedule, gate, late.due_at)
    if gate is None:
        return _reopening(schedule, gate, now)
    closed = gate.judge_start(now, scheduled_for, _nominal(schedule, scheduled_for))
    if closed is None:
        return _reopening(schedule, gate, now)
    if closed.disposition is Disposition.NEXT_WINDOW:
        return _reopening(schedule, gate, closed.due_at)
    if closed.disposition is Disposition.HOLD:
        return Held((closed.why or "").removeprefix("held: "))
    return Missed() if attempt == 0 else Reject(WINDOW_CLOSED)


def _reopening(schedule: Schedule, gate: Gate | None, at: datetime) -> Reopening:
    latest = latest_start(schedule.late, at, schedule.misfire_grace_time)
    return Reopening(at, latest, None if gate is None else gate.open_until(at))


def _nominal(schedule: Schedule, scheduled_for: datetime) -> datetime:
    """Return the nominal local time of an occurrence; for a run by a person, what clocks read."""
    event = schedule.event_after(scheduled_for - _TICK)
    if event is not None and event.at == scheduled_for:
        return event.local
    return wall_clock(scheduled_for, zone(schedule.timezone))
