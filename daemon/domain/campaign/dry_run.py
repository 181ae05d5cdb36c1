"""A dry run: what a command would do to the coming occurrences of a campaign."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from daemon.domain.campaign.model import Change, Snapshot
from daemon.domain.campaign.state_machine import ARMED, Event, Status
from daemon.domain.schedule.clock_changes import LATEST
from daemon.domain.schedule.compare import Comparison, compare, occurrences_until
from daemon.domain.schedule.gate import gate_of
from daemon.domain.schedule.gated_occurrences import GatedOccurrence
from daemon.domain.schedule.schedule import Schedule, TimedEvent

_TICK = timedelta(microseconds=1)
_FIRES = ARMED - {Status.PAUSED}
"""The statuses in which occurrences run."""


class DryRun(NamedTuple):
    """What a command would do."""

    status: Status
    """The status after the command."""
    armed: bool
    """Whether occurrences run before and after it; else they are compared as if started."""
    since: datetime
    until: datetime
    comparison: Comparison


def dry_run(snapshot: Snapshot, change: Change, days: int) -> DryRun:
    """Compare the occurrences within some days from now, without a change and with it."""
    now = snapshot.now
    until = now + timedelta(days=days) if LATEST - now > timedelta(days=days) else LATEST
    status = snapshot.campaign.status
    to_status = status if change.nothing else change.to_status
    current = None if snapshot.current is None else snapshot.current.schedule
    if change.clear_schedule:
        planned, timer = None, None
    else:
        planned = current if change.schedule is None else change.schedule.schedule
        timer = snapshot.timer if change.keep_timer else change.timer
    starts_draft = change.event is Event.START and status is Status.DRAFT
    old = [] if starts_draft else _coming(current, snapshot.timer, status, snapshot, until)
    new = _coming(planned, timer, to_status, snapshot, until)
    is_armed = to_status in _FIRES and (status in _FIRES or starts_draft)
    return DryRun(to_status, is_armed, now, until, compare(old, new))


def _coming(
    schedule: Schedule | None,
    timer: TimedEvent | None,
    status: Status,
    snapshot: Snapshot,
    until: datetime,
) -> list[GatedOccurrence]:
    """Return the occurrences from the timer on; without a timer as if the campaign was started."""
    if status in ARMED and timer is None:
        return []
    after = snapshot.now if timer is None else max(snapshot.now, timer.at - _TICK)
    gate = None if schedule is None else gate_of(schedule, snapshot.calendars)
    return occurrences_until(schedule, gate, after, until)
