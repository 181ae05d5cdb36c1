"""Due occurrences of a schedule with a gate, a `late` other than SKIP, or `Gap.SKIP`.

The planner of claims calls `decide_gated` where `misfire.decide` does not serve. Occurrences are
decided in the order of their instants. One that waits holds back the later ones, so that the timer
needs one event of a schedule.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from daemon.domain.schedule.due_parts import (
    DueEvent,
    GatedStretch,
    Part,
    Rows,
    events_of,
    last_alike,
    split,
    without_last,
)
from daemon.domain.schedule.gate import Gate, judge_event
from daemon.domain.schedule.lateness import TOO_LATE, Lateness, judge_late
from daemon.domain.schedule.schedule import EventKind, Schedule, TimedEvent
from daemon.domain.schedule.send_window import Disposition, Verdict

_COALESCED = "skipped: coalesced"
_STATUS = {Disposition.SKIP: "skipped", Disposition.HOLD: "held"}
"""The statuses of what its gate leaves out."""
_LATE_STATUS = {Disposition.SKIP: "missed", Disposition.HOLD: "held"}


def decide_gated(
    schedule: Schedule,
    gate: Gate | None,
    late: Disposition,
    event: TimedEvent,
    due_at: datetime,
    now: datetime,
) -> GatedStretch:
    """Decide about the armed FIRE `event`, and every FIRE after it, that is due at `now`.

    Args:
        schedule: The schedule of the events.
        gate: Its gate, if it has a send window.
        late: What becomes of an occurrence that is later than the grace.
        event: The armed event.
        due_at: From when the armed event is due; later than its verdict where it was deferred.
        now: The present, by the database's clock.
    """
    return _Decision(schedule, gate, late, now).make(event, due_at)


class _Decision:
    """The state of one decision: its inputs, and the rows that it has found."""

    def __init__(
        self, schedule: Schedule, gate: Gate | None, late: Disposition, now: datetime
    ) -> None:
        self._schedule, self._gate, self._late, self._now = schedule, gate, late, now
        self._in_time = now - timedelta(seconds=schedule.misfire_grace_time)
        self._rows = Rows(schedule)

    def make(self, event: TimedEvent | None, due_at: datetime) -> GatedStretch:
        candidates: list[Part] = []
        while event is not None and event.kind is EventKind.FIRE:
            verdict = self._judge(event)
            due_at = max(due_at, verdict.due_at)
            if due_at > self._now:
                break
            last = last_alike(self._schedule, event, verdict, self._now)
            part = Part(event, last, due_at, verdict.disposition is not Disposition.NEXT_WINDOW)
            if verdict.disposition in _STATUS:
                self._rows.add(part, _STATUS[verdict.disposition], verdict.why or "")
            elif self._schedule.coalesce:
                candidates.append(part)
            elif (decided := self._first_that_goes(part)) is not None:
                return decided
            due_at = part.due_of(last)
            event = self._schedule.event_following(last)
        following = self._due(event, due_at)
        if candidates:
            return self._coalesce(candidates, following)
        return self._result(None, following)

    def _judge(self, event: TimedEvent) -> Verdict:
        return judge_event(self._schedule, self._gate, event)

    def _due(self, event: TimedEvent | None, held_back: datetime) -> DueEvent | None:
        """Return an event with its due instant, which is not before that of the one before it."""
        if event is None:
            return None
        if event.kind is not EventKind.FIRE:
            return DueEvent(event, event.at)
        return DueEvent(event, max(held_back, self._judge(event).due_at))

    def _judge_late(self, event: TimedEvent, due_at: datetime) -> Lateness:
        grace, gate, now = self._schedule.misfire_grace_time, self._gate, self._now
        found = judge_late(self._late, event.at, due_at, grace, now, gate)
        if found.disposition is not Disposition.SEND or gate is None or now <= found.due_at:
            return found
        # It was due while its gate was open, and comes when that may be closed.
        closed = gate.judge_start(now, event.at, event.local)
        if closed is None or gate.opening(found.due_at, found.due_at) is None:
            return found
        return Lateness(closed.disposition, closed.due_at, closed.why or "")

    def _coalesce(self, parts: list[Part], following: DueEvent | None) -> GatedStretch:
        """Let the newest occurrence start, or treat it as late; the older ones get rows."""
        newest = parts[-1].last
        lateness = self._judge_late(newest, parts[-1].due_of(newest))
        rows, found = self._rows, lateness.disposition
        if lateness.cause == TOO_LATE[Disposition.SKIP]:
            for part in parts:
                rows.add(part, "missed", lateness.cause)
            return self._result(None, following)
        for older in (*parts[:-1], without_last(self._schedule, parts[-1])):
            missed = None
            if self._late is Disposition.SKIP:
                missed, older = split(self._schedule, older, self._in_time)
            rows.add(missed, "missed", TOO_LATE[Disposition.SKIP])
            rows.add(older, "skipped", _COALESCED)
        if found in _STATUS:
            rows.add(parts[-1]._replace(first=newest), _STATUS[found], lateness.cause)
            return self._result(None, following)
        decided = DueEvent(newest, lateness.due_at)
        if found is Disposition.SEND:
            return self._result(decided, following)
        return self._result(None, decided, deferred=lateness.cause)

    def _first_that_goes(self, part: Part) -> GatedStretch | None:
        """Return the decision if an occurrence of the part starts or waits; the others get rows."""
        rest: Part | None = part
        if self._late is not Disposition.SEND:
            late, rest = split(self._schedule, part, self._in_time)
            if self._late is not Disposition.NEXT_WINDOW:
                self._rows.add(late, _LATE_STATUS[self._late], TOO_LATE[self._late])
            elif late is not None and (found := self._first_that_waits(late)) is not None:
                return found
        return None if rest is None else self._first_that_waits(rest)

    def _first_that_waits(self, part: Part) -> GatedStretch | None:
        """Return the decision on the first that starts or waits; those before it get rows."""
        for event in events_of(self._schedule, part):
            lateness = self._judge_late(event, part.due_of(event))
            if lateness.disposition is Disposition.SEND:
                return self._fire(event, lateness.due_at)
            if lateness.disposition is Disposition.NEXT_WINDOW:
                decided = DueEvent(event, lateness.due_at)
                return self._result(None, decided, deferred=lateness.cause)
            one = part._replace(first=event, last=event)
            self._rows.add(one, lateness.cause.partition(":")[0], lateness.cause)
        return None

    def _fire(self, event: TimedEvent, due_at: datetime) -> GatedStretch:
        following = self._schedule.event_following(event)
        return self._result(DueEvent(event, due_at), self._due(following, due_at))

    def _result(
        self, fire: DueEvent | None, following: DueEvent | None, *, deferred: str | None = None
    ) -> GatedStretch:
        backlog = following is not None and following.due_at <= self._now
        return GatedStretch(fire, following, deferred, backlog, *self._rows.listed())
