"""The send window of a schedule: when its occurrences may start, and what becomes of the others.

`daemon.domain.requests.send_window` reads the value from a body. `gate.Gate` decides by it.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from daemon.domain.schedule.weekly_hours import WeeklyHours

DEFER_AT_MOST = 604_800
"""Default of `SendWindow.defer_at_most` in seconds: seven days."""

CLOSED_TOO_LONG = "skipped: closed for longer than"
"""Beginning of the cause of an occurrence that would wait for longer than `defer_at_most`."""


class Disposition(StrEnum):
    """What becomes of an occurrence: the one vocabulary of send windows, lateness and preview.

    NEXT_WINDOW starts the occurrence at the next opening of its gate, HOLD lets an operator decide.
    """

    SEND = "send"
    NEXT_WINDOW = "next_window"
    HOLD = "hold"
    SKIP = "skip"


class SendWindow(NamedTuple):
    """When occurrences may start, and what becomes of those that fall outside.

    At least one of `hours`, `calendars` and `except_dates` is given. `timezone` is the zone of the
    hours, None for the schedule's. `except_dates` are local dates of the schedule's zone, sorted.
    `outside` is any disposition but SEND. `defer_at_most` is in seconds.
    """

    hours: WeeklyHours | None = None
    calendars: tuple[str, ...] = ()
    except_dates: tuple[date, ...] = ()
    timezone: str | None = None
    outside: Disposition = Disposition.NEXT_WINDOW
    defer_at_most: int = DEFER_AT_MOST


class Verdict(NamedTuple):
    """What becomes of an occurrence at its gate.

    `due_at` is the earliest start, for HOLD and SKIP the occurrence's own time. `why` is the cause
    for readers, such as "skipped: closed by us-holidays (Labor Day)"; None for SEND. Occurrences of
    a continuous window that lie between this one and `until` have the same disposition and cause.
    """

    disposition: Disposition
    due_at: datetime
    why: str | None
    until: datetime
