"""A campaign's schedule as one canonical value, and its timed events.

Both request bodies and the columns of a stored schedule are read to a `Schedule`. The value is flat
and computes nothing when it is built, because every claim builds it again from a row. Wall-clock
time and zone are the truth; instants follow from them (docs/semantics.md#occurrences).

The order of events: ONCE has a single FIRE. RECURRING has FIREs. WINDOW has an OPEN, then FIREs if
it has timed runs, then a CLOSE if it has an end. The first FIRE is at the instant of OPEN, and a
FIRE exactly at the end precedes CLOSE.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import islice, takewhile
from typing import NamedTuple

from daemon.domain.schedule.daylight_saving import (
    DaylightSaving,
    Fold,
    Gap,
    fires_from,
    is_first_pass,
)
from daemon.domain.schedule.recurrence import (
    Frequency,
    Rule,
    Skip,
    count_matches,
    last_match,
    next_match,
)
from daemon.domain.schedule.send_window import Disposition, SendWindow
from daemon.domain.schedule.timezones import resolve, wall_clock, zone

__all__ = [
    "CampaignType",
    "EventKind",
    "Frequency",
    "Kind",
    "Overlap",
    "Rule",
    "Schedule",
    "ScheduleSource",
    "Skip",
    "TimedEvent",
]

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


class CampaignType(StrEnum):
    """The type of a campaign, which decides the meaning of its schedule."""

    ONE_TIME = "one_time"
    RECURRING = "recurring"
    SEGMENT_TRIGGERED = "segment_triggered"
    EVENT_TRIGGERED = "event_triggered"
    LIVE_CONTENT = "live_content"

    def __init__(self, word: str) -> None:
        self.is_window = word not in ("one_time", "recurring")
        """Whether the campaign is live from a start to an end, rather than only at runs."""


class Kind(StrEnum):
    """The three kinds of schedules."""

    ONCE = "once"
    RECURRING = "recurring"
    WINDOW = "window"


class EventKind(StrEnum):
    """The kinds of timed events."""

    OPEN = "open"
    FIRE = "fire"
    CLOSE = "close"


class Overlap(StrEnum):
    """The treatment of an occurrence that falls due while a run is open."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"


class ScheduleSource(StrEnum):
    """The request body from which a schedule was read."""

    SCHEDULE = "schedule"
    UPDATE_SCHEDULE = "update_schedule"


class TimedEvent(NamedTuple):
    """An occurrence, or a window's opening or closing.

    `at` is the aware UTC instant, `local` the naive nominal wall-clock time in the schedule's zone.
    In a gap, no clock shows the nominal time.
    """

    kind: EventKind
    at: datetime
    local: datetime


class Schedule(NamedTuple):
    """When a campaign runs.

    `anchor_at` (aware UTC) and `anchor_local` (naive, in `timezone`) are scheduled_at or startdate;
    for a recurrence that was given neither, its first occurrence. `ends_at` is an inclusive UTC
    instant; when the end was given as a date, `ends_on` holds it, local dates are compared with
    that, and `ends_at` is the last microsecond of that local day. `every_seconds` is set for a
    window that runs continuously, `rule` for all other repetition. `misfire_grace_time` is
    in seconds. `dst` is None for the default policy, which is `daylight_saving.DEFAULT`. `late` is
    what becomes of an occurrence that is later than the grace.
    """

    source: ScheduleSource
    kind: Kind
    timezone: str
    anchor_at: datetime
    anchor_local: datetime
    rule: Rule | None = None
    every_seconds: int | None = None
    ends_at: datetime | None = None
    ends_on: date | None = None
    misfire_grace_time: int = 3600
    coalesce: bool = True
    overlap: Overlap = Overlap.SKIP
    dst: DaylightSaving | None = None
    send_window: SendWindow | None = None
    late: Disposition = Disposition.SKIP

    @property
    def has_conditions(self) -> bool:
        """Return whether daylight saving, a send window or lateness have a rule of their own."""
        return (
            self.send_window is not None
            or self.dst is not None
            or self.late is not Disposition.SKIP
        )

    @property
    def is_gated(self) -> bool:
        """Return whether an occurrence may be left out, or be due after its own time."""
        return self.has_conditions and (
            self.send_window is not None
            or self.late is not Disposition.SKIP
            or (self.dst is not None and self.dst.gap is Gap.SKIP)
        )

    @property
    def begins_at(self) -> datetime:
        """Return the instant of the first occurrence, or of the window's start."""
        if self.kind is Kind.RECURRING:
            first = self.first_event()
            if first is not None:
                return first.at
        return self.anchor_at

    @property
    def has_fires(self) -> bool:
        """Return whether the schedule has timed runs; windows of two campaign types have none."""
        return self.kind is not Kind.WINDOW or bool(self.rule or self.every_seconds)

    def first_event(self) -> TimedEvent | None:
        """Return the very first event, or None for a recurrence that would never run."""
        if self.kind is Kind.RECURRING:
            return self._fire_from(1, _EARLIEST)
        kind = EventKind.OPEN if self.kind is Kind.WINDOW else EventKind.FIRE
        return TimedEvent(kind, self.anchor_at, self.anchor_local)

    def event_after(self, instant: datetime) -> TimedEvent | None:
        """Return the next OPEN, FIRE or CLOSE strictly after an aware instant."""
        if self.kind is not Kind.RECURRING and instant < self.anchor_at:
            return self.first_event()
        if self.kind is Kind.ONCE:
            return None
        fire = self._fire_after(instant)
        return fire if fire is not None else self._close_after(instant)

    def event_following(self, event: TimedEvent) -> TimedEvent | None:
        """Return the event after `event`, once that has been handled.

        The search starts after the wall-clock time of the previous occurrence, not after its
        instant, so neither a change of zone nor new tzdata can repeat a local date. Only the second
        pass that `Fold.BOTH` asks for has the wall-clock time of the previous occurrence. The
        result is also strictly later, because campaign and instant identify an occurrence.
        """
        if self.kind is Kind.ONCE or event.kind is EventKind.CLOSE:
            return None
        if event.kind is EventKind.OPEN:
            if self.rule or self.every_seconds:
                return TimedEvent(EventKind.FIRE, self.anchor_at, self.anchor_local)
            return self.closing()
        if self.rule is None:
            fire = self._tick_after(event.at)
        else:
            fires = self._fires_following(self.rule, event, 1)
            fire = TimedEvent(EventKind.FIRE, *fires[0]) if fires else None
        return fire if fire is not None else self.closing()

    def occurrences(self, after: datetime, count: int) -> list[datetime]:
        """Return the instants of the next FIREs strictly after `after`, at most `count`."""
        if self.every_seconds is not None:
            return self._ticks(after, count)
        event = self.event_after(after)
        if event is not None and event.kind is EventKind.OPEN:
            event = self.event_following(event)
        if event is None or event.kind is EventKind.CLOSE or count < 1:
            return []
        if self.rule is None or count == 1:
            return [event.at]
        rest = self._fires_following(self.rule, event, count - 1)
        return [event.at, *[at for at, _ in rest]]

    def instants_of(self, local: datetime) -> tuple[datetime, ...]:
        """Return the instants of the occurrences at a naive wall-clock time: none, one or two."""
        if self.rule is None:
            return (self.anchor_at,) if self.has_fires and local == self.anchor_local else ()
        fires = self._fires_from(self.rule, local.toordinal(), _EARLIEST, 2)
        return tuple(at for at, of in fires if of == local)

    def latest_fire(self, until: datetime) -> TimedEvent | None:
        """Return the last FIRE at or before an aware instant, or None when there is none yet."""
        if self.kind is Kind.ONCE:
            return self.first_event() if self.anchor_at <= until else None
        if until < self.anchor_at:
            return None
        if self.ends_at is not None and self.ends_at < until:
            until = self.ends_at
        if self.every_seconds is not None:
            step = timedelta(seconds=self.every_seconds)
            return self._tick(self.anchor_at + (until - self.anchor_at) // step * step)
        if self.rule is None:
            return None
        # A first pass can lie on the local date after that of an instant in the second pass.
        ordinal: int | None = _local_ordinal(until, self.timezone) + 1
        while ordinal is not None:
            ordinal = last_match(self.rule, ordinal)
            if ordinal is None:
                return None
            # A local date has at most two occurrences.
            fires = self._fires_from(self.rule, ordinal, _EARLIEST, 1 if self.dst is None else 2)
            for at, local in reversed(fires):
                if at <= until:
                    return TimedEvent(EventKind.FIRE, at, local)
            ordinal -= 1
        return None

    def count_fires(self, first: TimedEvent, last: TimedEvent) -> int:
        """Return the number of FIREs from `first` to `last`, both included, by arithmetic.

        The count is of local dates: two dates that share an instant count twice, as in a zone that
        skips a whole day. Only the two passes of `Fold.BOTH` are counted one by one.
        """
        if self.every_seconds is not None:
            return (last.at - first.at) // timedelta(seconds=self.every_seconds) + 1
        if self.rule is None:
            return 1
        if self.dst is not None and self.dst.fold is Fold.BOTH:
            just_before = first.at - timedelta(microseconds=1)
            fires = fires_from(self, self.dst, self.rule, first.local.toordinal(), just_before)
            return sum(1 for _ in takewhile(lambda fire: fire[0] <= last.at, fires))
        return count_matches(self.rule, first.local.toordinal(), last.local.toordinal())

    def _fire_after(self, instant: datetime) -> TimedEvent | None:
        if self.every_seconds is not None:
            return self._tick_after(instant)
        if self.rule is None:
            return None
        if instant < self.anchor_at:
            return self._fire_from(1, instant)
        # Start on the date before: its nominal time can fall after the instant because of a gap.
        return self._fire_from(_local_ordinal(instant, self.timezone) - 1, instant)

    def _fires_following(
        self, rule: Rule, event: TimedEvent, count: int
    ) -> list[tuple[datetime, datetime]]:
        """Return at most `count` FIREs of the rule after `event`, as `_fires_from` does."""
        local = event.local
        ordinal = local.toordinal()
        if rule.time <= local.time() and (self.dst is None or not is_first_pass(self, rule, event)):
            ordinal += 1
        return self._fires_from(rule, ordinal, event.at, count)

    def _fire_from(self, ordinal: int, later_than: datetime) -> TimedEvent | None:
        """Return the first FIRE on a local date from `ordinal` on, strictly after an instant."""
        if self.rule is None:
            return None
        fires = self._fires_from(self.rule, ordinal, later_than, 1)
        return TimedEvent(EventKind.FIRE, *fires[0]) if fires else None

    def _fires_from(
        self, rule: Rule, ordinal: int, later_than: datetime, count: int
    ) -> list[tuple[datetime, datetime]]:
        """Return `at` and `local` of at most `count` FIREs, each later than the previous one."""
        if self.dst is not None:
            return list(islice(fires_from(self, self.dst, rule, ordinal, later_than), count))
        time, in_zone = rule.time, zone(self.timezone)
        anchor_local, ends_on, ends_at = self.anchor_local, self.ends_on, self.ends_at
        found: list[tuple[datetime, datetime]] = []
        while (match := next_match(rule, ordinal)) is not None:
            day = date.fromordinal(match)
            local = datetime.combine(day, time)
            if local == anchor_local:
                at = self.anchor_at
            else:
                try:
                    at = resolve(local, in_zone)
                except OverflowError:
                    break
            if ends_on is not None:
                if day > ends_on:
                    break
            elif ends_at is not None and at > ends_at:
                break
            if at > later_than:
                found.append((at, local))
                if len(found) == count:
                    break
                later_than = at
            ordinal = match + 1
        return found

    def _tick_after(self, instant: datetime) -> TimedEvent | None:
        """Return the first FIRE of a continuous window after an instant, by elapsed time."""
        step = timedelta(seconds=self.every_seconds or 1)
        try:
            at = self.anchor_at + ((instant - self.anchor_at) // step + 1) * step
        except OverflowError:
            return None
        if self.ends_at is not None and at > self.ends_at:
            return None
        return self._tick(at)

    def _ticks(self, after: datetime, count: int) -> list[datetime]:
        first = self.anchor_at if after < self.anchor_at else None
        if first is None:
            tick = self._tick_after(after)
            if tick is None:
                return []
            first = tick.at
        step = timedelta(seconds=self.every_seconds or 1)
        left = ((self.ends_at or _LATEST) - first) // step + 1
        return [first + number * step for number in range(min(count, left))]

    def _tick(self, at: datetime) -> TimedEvent | None:
        try:
            return TimedEvent(EventKind.FIRE, at, wall_clock(at, zone(self.timezone)))
        except OverflowError:
            return None

    def _close_after(self, instant: datetime) -> TimedEvent | None:
        close = self.closing()
        return close if close is not None and close.at > instant else None

    def closing(self) -> TimedEvent | None:
        """Return the CLOSE of a window that has an end, or None."""
        if self.kind is not Kind.WINDOW or self.ends_at is None:
            return None
        return TimedEvent(
            EventKind.CLOSE, self.ends_at, wall_clock(self.ends_at, zone(self.timezone))
        )


def _local_ordinal(instant: datetime, timezone: str) -> int:
    try:
        return instant.astimezone(zone(timezone)).toordinal()
    except OverflowError:
        return instant.toordinal()
