"""The times in which every condition of a gate is open.

Only `gate` uses this module. The search goes from change to change, so its cost does not depend on
the length of what is searched, but on how often the conditions change in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from daemon.domain.schedule.clock_changes import LATEST
from daemon.domain.schedule.gate_conditions import Condition, Moment, later

SEARCHED = timedelta(days=366)
"""How far ahead the end of an open time is searched."""
_LAST = LATEST - timedelta(microseconds=1)


class Finding(NamedTuple):
    """The first condition that is closed, and why; None where all are open.

    `until` is an instant up to which the finding remains. `unchanged` is one up to which that
    condition remains closed; it is not before `until`.
    """

    closed: Condition | None
    why: str | None
    until: datetime
    unchanged: datetime


class OpenTimes:
    """The intersection of conditions, which are asked in their order."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._conditions = tuple(conditions)
        # The last time found closed, because each of the occurrences in it asks for its end.
        self._closed = (LATEST, LATEST)

    def find(self, moment: Moment) -> Finding:
        """Return what is closed at a moment."""
        until = LATEST
        for condition in self._conditions:
            why, unchanged = condition.state(moment)
            until = min(until, unchanged)
            if why is not None:
                return Finding(condition, why, until, unchanged)
        return Finding(None, None, until, until)

    def opening(self, at: datetime, latest: datetime) -> datetime | None:
        """Return the earliest open instant from `at` to `latest`, or None."""
        latest = min(latest, _LAST)
        closed_from = at
        if self._closed[0] <= at < self._closed[1]:
            closed_from, at = self._closed
        while at <= latest and (until := self._closed_until(at)) is not None:
            at = until
        if closed_from < at:
            self._closed = closed_from, at
        return at if at <= latest else None

    def open_until(self, at: datetime) -> datetime | None:
        """Return when the open time ends in which `at` lies; None if it goes on for 366 days."""
        latest = min(later(at, SEARCHED), _LAST)
        while at <= latest:
            found = self.find(Moment(at))
            if found.closed is not None:
                return at
            at = found.until
        return None

    def _closed_until(self, at: datetime) -> datetime | None:
        moment = Moment(at)
        for condition in self._conditions:
            why, unchanged = condition.state(moment)
            if why is not None:
                return unchanged
        return None
