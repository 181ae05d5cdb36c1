"""Lateness by meaning: what becomes of a first attempt that could not start within its grace.

The planner of claims asks `judge_late`, through `gated_misfire`, for what is late in the timer; the
claim of attempts asks for what was late in a queue. A schedule whose `late` is SKIP and that has no
gate needs neither: `misfire.decide` judges it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from daemon.domain.schedule.clock_changes import LATEST
from daemon.domain.schedule.gate import Gate
from daemon.domain.schedule.gate_conditions import later
from daemon.domain.schedule.send_window import Disposition

NO_LATEST_START = LATEST.replace(hour=0, minute=0, second=0, microsecond=0)
"""The latest start of what is sent however late it is."""
TOO_LATE = {
    Disposition.SKIP: "missed: too late",
    Disposition.HOLD: "held: too late",
    Disposition.NEXT_WINDOW: "deferred: too late",
}
"""The causes of the dispositions of what is late."""


class Lateness(NamedTuple):
    """A disposition, the due instant from which the grace counts, and the cause.

    NEXT_WINDOW always waits: what may start now is SEND. The cause begins with the status of the
    occurrence, and is empty for SEND.
    """

    disposition: Disposition
    due_at: datetime
    cause: str = ""


def latest_start(late: Disposition, due_at: datetime, grace: int) -> datetime:
    """Return the last instant at which a first attempt may start; `grace` is in seconds."""
    if late is Disposition.SEND:
        return NO_LATEST_START
    return later(due_at, timedelta(seconds=grace))


def judge_late(
    late: Disposition,
    scheduled_for: datetime,
    due_at: datetime,
    grace: int,
    now: datetime,
    gate: Gate | None,
) -> Lateness:
    """Return what becomes at `now` of an occurrence that was due at `due_at`.

    With NEXT_WINDOW the occurrence waits for the next opening of its gate, at most until
    `Gate.latest_opening`; beyond that, and without a gate, it is missed.
    """
    if now <= latest_start(late, due_at, grace):
        return Lateness(Disposition.SEND, due_at)
    if late is not Disposition.NEXT_WINDOW:
        return Lateness(late, due_at, TOO_LATE[late])
    if gate is None or (opening := gate.opening(now, gate.latest_opening(scheduled_for))) is None:
        return Lateness(Disposition.SKIP, due_at, TOO_LATE[Disposition.SKIP])
    if opening == now:
        return Lateness(Disposition.SEND, opening)
    return Lateness(Disposition.NEXT_WINDOW, opening, TOO_LATE[Disposition.NEXT_WINDOW])


def lateness_fault(late: Disposition, gate: Gate | None) -> str | None:
    """Return why a save refuses `late`, as the text after its name; None when it does not."""
    if late is not Disposition.NEXT_WINDOW or (gate is not None and gate.has_hours):
        return None
    return "is 'next_window', which needs send_window.open or a calendar with hours"
