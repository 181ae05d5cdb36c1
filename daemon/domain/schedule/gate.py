"""The gate: whether an occurrence may start at its time, and if not, when it may.

A gate is open while every condition of a send window and of its calendars is. The planner of
claims, preview and the checks of a save ask `judge`; attempts and lateness ask `opening` and
`open_until`. A schedule without a send window has no gate, and nothing here is called for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.clock_changes import LATEST
from daemon.domain.schedule.daylight_saving import DEFAULT, passes
from daemon.domain.schedule.dst_affected import gap_cause
from daemon.domain.schedule.gate_conditions import (
    Condition,
    Hours,
    Moment,
    conditions_of,
    excluded_dates,
    is_dates,
    later,
    reading,
)
from daemon.domain.schedule.open_times import OpenTimes
from daemon.domain.schedule.schedule import Schedule, TimedEvent
from daemon.domain.schedule.send_window import (
    CLOSED_TOO_LONG,
    Disposition,
    SendWindow,
    Verdict,
)
from daemon.domain.schedule.timezones import zone

_DAY = timedelta(days=1)


class Gate:
    """A send window and its calendars, for one schedule.

    Args:
        schedule: Its zone is that of excluded dates, of floating calendars, and of hours that name
            none. Nothing is deferred beyond its end.
        window: The send window of the schedule.
        calendars: At least those that the window names, by name.

    Raises:
        KeyError: A calendar is missing.
    """

    def __init__(
        self, schedule: Schedule, window: SendWindow, calendars: Mapping[str, Calendar]
    ) -> None:
        conditions: list[Condition] = []
        self._excluded = excluded_dates(window, schedule.timezone)
        if self._excluded is not None:
            conditions.append(self._excluded)
        if window.hours is not None:
            in_zone = zone(window.timezone or schedule.timezone)
            conditions.append(Hours(in_zone, window.hours, "outside its send window"))
        for name in window.calendars:
            conditions += conditions_of(calendars[name], schedule.timezone)
        self._times = OpenTimes(conditions)
        self._open_dates = OpenTimes([each for each in conditions if is_dates(each)])
        self._outside = window.outside
        self._defer_at_most = timedelta(seconds=window.defer_at_most)
        # Twice as far tells how many more runs of a continuous window wait too long.
        self._searched = self._defer_at_most * (1 if schedule.every_seconds is None else 2)
        self._zone, self._dst = zone(schedule.timezone), schedule.dst or DEFAULT
        self._ends_at = schedule.ends_at
        self.has_hours = any(isinstance(each, Hours) for each in conditions)
        """Whether the window or one of its calendars has weekly hours."""
        # A continuous window goes on at the end of a closed date: its runs have no time of day.
        self._moves_by_days = not self.has_hours and schedule.every_seconds is None

    def judge(self, at: datetime, local: datetime) -> Verdict:
        """Return the verdict on an occurrence: its UTC instant and its nominal local time."""
        closed, why, until, unchanged = self._times.find(Moment(at, local))
        if closed is None:
            return Verdict(Disposition.SEND, at, None, until)
        if closed is self._excluded:
            return Verdict(Disposition.SKIP, at, f"skipped: excluded date {local.date()}", until)
        if self._outside is Disposition.SKIP:
            return Verdict(Disposition.SKIP, at, f"skipped: {why}", until)
        if self._outside is Disposition.HOLD:
            return Verdict(Disposition.HOLD, at, f"held: {why}", until)
        longest = self._defer_at_most
        start = unchanged
        if self._moves_by_days:
            start = self._same_time_after(at, local) if is_dates(closed) else at
        opening = self.opening(start, later(at, self._searched), local)
        if opening is None or opening > later(at, longest):
            until = min(until, (opening or later(at, self._searched)) - longest)
            why = f"{CLOSED_TOO_LONG} {longest // timedelta(seconds=1)} s"
            return Verdict(Disposition.SKIP, at, why, until)
        if self._ends_at is not None and opening > self._ends_at:
            return Verdict(Disposition.SKIP, at, "skipped: its window opens after the end", until)
        return Verdict(Disposition.NEXT_WINDOW, opening, f"deferred: {why}", until)

    def judge_start(
        self, now: datetime, scheduled_for: datetime, local: datetime
    ) -> Verdict | None:
        """Return the verdict on an occurrence that did not start before its gate closed.

        None if the gate is open at `now`. `local` is the nominal local time of the occurrence.
        """
        closed, why, until, _ = self._times.find(Moment(now))
        if closed is None:
            return None
        if self._outside is Disposition.SKIP:
            return Verdict(Disposition.SKIP, now, f"skipped: {why}", until)
        if self._outside is Disposition.HOLD:
            return Verdict(Disposition.HOLD, now, f"held: {why}", until)
        opening = self.opening(now, self.latest_opening(scheduled_for), local)
        if opening is None:
            why = f"{CLOSED_TOO_LONG} {self._defer_at_most // timedelta(seconds=1)} s"
            return Verdict(Disposition.SKIP, now, why, until)
        return Verdict(Disposition.NEXT_WINDOW, opening, f"deferred: {why}", until)

    def opening(
        self, at: datetime, latest: datetime, local: datetime | None = None
    ) -> datetime | None:
        """Return the earliest open instant from `at` to `latest`, or None.

        Where neither the window nor a calendar has hours, a closed date moves an occurrence by
        whole days: `local`, its nominal local time, gives the time of day to keep.
        """
        if local is None or not self._moves_by_days:
            return self._times.opening(at, latest)
        while at <= latest and at < LATEST:
            moment = Moment(at)
            closed, _, _, unchanged = self._times.find(moment)
            if closed is None:
                return at
            is_date = self._open_dates.find(moment).closed is not None
            at = self._same_time_after(at, local) if is_date else unchanged
        return None

    def latest_opening(self, scheduled_for: datetime) -> datetime:
        """Return the last instant to which an occurrence may be deferred."""
        latest = later(scheduled_for, self._defer_at_most)
        return latest if self._ends_at is None else min(latest, self._ends_at)

    def open_until(self, at: datetime) -> datetime | None:
        """Return when the gate closes that is open at `at`; None if it is open for 366 days."""
        return self._times.open_until(at)

    def _same_time_after(self, at: datetime, local: datetime) -> datetime:
        """Return the first instant after `at` at the time of day of `local`."""
        day = reading(at, self._zone).date()
        while True:
            local = datetime.combine(day, local.time())
            try:
                instants = passes(local, self._zone, self._dst)
                day += _DAY
            except OverflowError:
                return LATEST
            for found in instants:
                if found > at:
                    return found


def gate_of(schedule: Schedule, calendars: Mapping[str, Calendar]) -> Gate | None:
    """Return the gate of a schedule, or None without a send window.

    Raises:
        KeyError: A calendar is missing.
    """
    window = schedule.send_window
    return None if window is None else Gate(schedule, window, calendars)


def judge_event(schedule: Schedule, gate: Gate | None, event: TimedEvent) -> Verdict:
    """Return the verdict on a FIRE: by the policy for daylight saving, then by the gate, if any."""
    if schedule.dst is not None and (why := gap_cause(schedule, event)) is not None:
        return Verdict(Disposition.SKIP, event.at, why, event.at)
    if gate is None:
        return Verdict(Disposition.SEND, event.at, None, LATEST)
    return gate.judge(event.at, event.local)
