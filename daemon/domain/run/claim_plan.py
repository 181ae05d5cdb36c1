"""Plans a claim: from a due event to the input of the claim statement, without any lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from daemon.domain.brakes import NO_BRAKES, Brakes, Mark
from daemon.domain.campaign.model import latest_start, run_id
from daemon.domain.run.attempt import ArmedEvent
from daemon.domain.schedule.calendars import CalendarSet
from daemon.domain.schedule.due_parts import Passed
from daemon.domain.schedule.gate import Gate, gate_of, judge_event
from daemon.domain.schedule.gated_misfire import decide_gated
from daemon.domain.schedule.lateness import latest_start as latest_start_of
from daemon.domain.schedule.misfire import LISTED_AT_MOST, Late, decide
from daemon.domain.schedule.schedule import EventKind, Kind, Schedule, TimedEvent
from daemon.domain.schedule.send_window import Disposition

NO_CALENDARS = CalendarSet()
_TICK = timedelta(microseconds=1)
TOO_LATE_CAUSE = "missed: too late"
COALESCED_CAUSE = "skipped: coalesced"


@dataclass(frozen=True, slots=True)
class PassedOccurrence:
    """An occurrence of a late stretch that gets no attempt: missed, skipped or held."""

    at: datetime
    run_id: UUID
    status: str
    cause: str
    start_before: datetime


@dataclass(frozen=True, slots=True)
class PassedStretch:
    """More than a hundred such occurrences, written as one event row."""

    first: datetime
    last: datetime
    count: int
    cause: str


class GatedClaim(NamedTuple):
    """What a claim has in addition where a send window, `late` or `dst` decides.

    Instants are those of the gate, None where they are the occurrence's own. The claim is lost
    after ``valid_until``, and when the calendars have another revision than the one it names.
    """

    due_at: datetime | None = None
    open_until: datetime | None = None
    next_due_at: datetime | None = None
    deferred: bool = False
    """Whether the armed occurrence was late, and waits for the next opening."""
    valid_until: datetime | None = None
    calendars_revision: int | None = None

    def holds(self, now: datetime, calendars_revision: int) -> bool:
        """Return whether a plan that was made in advance is still the right one."""
        is_valid = self.valid_until is None or now <= self.valid_until
        return is_valid and self.calendars_revision in (None, calendars_revision)


class ClaimRequest(NamedTuple):
    """One claim: the armed event, the occurrence to decide on, and the event that follows."""

    armed: ArmedEvent
    fire_at: datetime | None
    run_id: UUID | None
    start_before: datetime | None
    next: TimedEvent | None
    backlog: bool
    more: bool
    missed_until: datetime | None = None
    older: tuple[PassedOccurrence, ...] = ()
    bulk: tuple[PassedStretch, ...] = ()
    status: str | None = None
    """What the occurrence becomes instead of an attempt: skipped, missed or held; with `cause`."""
    cause: str | None = None
    brakes_at: datetime | None = None
    """The last change of the brakes that a plan for several occurrences takes into account."""
    is_plain: bool = False
    """Whether this is a single occurrence, followed by another or by nothing.

    The store claims plain requests by a short statement, as far as their campaigns are idle.
    """
    gated: GatedClaim | None = None

    def due_of(self, following: TimedEvent) -> datetime:
        """Return when the event that follows is due."""
        return following.at if self.gated is None else self.gated.next_due_at or following.at


def plan(
    armed: ArmedEvent,
    now: datetime,
    *,
    brakes: Brakes = NO_BRAKES,
    calendars: CalendarSet = NO_CALENDARS,
) -> ClaimRequest:
    """Return what to claim for an event that is due at ``now``, by the database clock.

    The newest occurrence of a late stretch is the one to carry out, even when it seems too late:
    the claim decides that by its own clock. A mark of the brakes splits a stretch: what lies in it
    is planned by itself, as if nothing else were due.
    """
    schedule, event = armed.schedule, armed.event
    if schedule.is_gated or armed.due_at != event.at:
        return _plan_gated(armed, now, brakes, calendars)
    if event.kind is not EventKind.FIRE:
        following = schedule.event_following(event)
        more = following is not None or event.kind is EventKind.OPEN
        return ClaimRequest(armed, None, None, None, following, False, more)
    grace = schedule.misfire_grace_time
    if schedule.kind is Kind.ONCE:
        identity = run_id(armed.campaign_uuid, event.at)
        latest = latest_start(event.at, grace)
        return ClaimRequest(armed, event.at, identity, latest, None, False, False, is_plain=True)
    now, until = max(now, event.at), max(now, event.at)
    for mark in brakes.marks_of(armed.target):
        if mark.holds_for(event.at):
            return _plan_marked(armed, now, mark, brakes.changed_at)
        if event.at < mark.since <= until:
            until = mark.since - _TICK
    late = decide(schedule, event, now, until)
    missed = late.missed
    fire = late.fire
    last_missed = missed[-1] if missed else None
    if fire is None:
        fire, missed = missed[-1], missed[:-1]
        if late.bulk_missed is None:
            # The claim judges the newest; the others count as missed if the last of them is.
            last_missed = missed[-1] if missed else None
    older = _passed_occurrences(armed, missed, late.skipped)
    bulk = _passed_stretches(late)
    is_followed_by_fire = late.next is not None and late.next.kind is EventKind.FIRE
    backlog = late.backlog and is_followed_by_fire
    more = late.next is not None or schedule.kind is Kind.WINDOW
    return ClaimRequest(
        armed,
        fire.at,
        run_id(armed.campaign_uuid, fire.at),
        latest_start(fire.at, grace),
        late.next,
        backlog,
        more,
        last_missed.at + timedelta(seconds=grace) if last_missed else None,
        older,
        bulk,
        brakes_at=brakes.changed_at,
        is_plain=fire is event
        and more == is_followed_by_fire
        and not (backlog or last_missed or bulk),
    )


def _plan_gated(
    armed: ArmedEvent, now: datetime, brakes: Brakes, calendars: CalendarSet
) -> ClaimRequest:
    """Plan the claim of a schedule with conditions, or of an occurrence that waited for one.

    An occurrence that a mark of the brakes is about goes by the mark, each by itself.
    """
    schedule, event = armed.schedule, armed.event
    gate = gate_of(schedule, calendars.by_name)
    window = schedule.send_window
    revision = calendars.revision if window is not None and window.calendars else None
    if event.kind is not EventKind.FIRE:
        following = schedule.event_following(event)
        more = following is not None or event.kind is EventKind.OPEN
        gated = GatedClaim(
            next_due_at=_due_of(schedule, gate, following), calendars_revision=revision
        )
        return ClaimRequest(armed, None, None, None, following, False, more, gated=gated)
    for mark in brakes.marks_of(armed.target):
        if mark.holds_for(armed.due_at):
            following = schedule.event_following(event)
            return ClaimRequest(
                armed,
                event.at,
                run_id(armed.campaign_uuid, event.at),
                latest_start(armed.due_at, schedule.misfire_grace_time),
                following,
                False,
                following is not None or schedule.kind is Kind.WINDOW,
                status=mark.status,
                cause=mark.cause,
                brakes_at=brakes.changed_at,
                gated=GatedClaim(
                    due_at=_later(event, armed.due_at),
                    next_due_at=_due_of(schedule, gate, following),
                    calendars_revision=revision,
                ),
            )
    at = max(now, armed.due_at)
    found = decide_gated(schedule, gate, schedule.late, event, armed.due_at, at)
    rows = [_passed_occurrence(armed, passed) for passed in found.passed]
    bulk = tuple(
        PassedStretch(many.stretch.first, many.stretch.last, many.stretch.count, many.cause)
        for many in found.bulk
    )
    following = None if found.next is None else found.next.event
    gated = GatedClaim(
        next_due_at=found.next and _later(found.next.event, found.next.due_at),
        deferred=found.deferred is not None,
        calendars_revision=revision,
    )
    request = ClaimRequest(
        armed,
        None,
        None if following is None else run_id(armed.campaign_uuid, following.at),
        None,
        following,
        found.backlog and following is not None and following.kind is EventKind.FIRE,
        following is not None or schedule.kind is Kind.WINDOW,
        # What depends on the present must be so by the database's clock, too.
        at - _TICK if at > armed.due_at and (rows or found.deferred) else None,
        tuple(rows),
        bulk,
        cause=found.deferred,
        brakes_at=brakes.changed_at,
        gated=gated,
    )
    if found.fire is not None:
        fire, due_at = found.fire
        latest = latest_start_of(schedule.late, due_at, schedule.misfire_grace_time)
        open_until = None if gate is None else gate.open_until(at)
        valid_until = None if schedule.late is Disposition.SKIP else latest
        if open_until is not None:
            valid_until = min(valid_until or open_until, open_until - _TICK)
        return request._replace(
            fire_at=fire.at,
            run_id=run_id(armed.campaign_uuid, fire.at),
            start_before=latest,
            gated=gated._replace(
                due_at=_later(fire, due_at), open_until=open_until, valid_until=valid_until
            ),
        )
    if rows and not found.deferred:
        newest = rows.pop()
        return request._replace(
            fire_at=newest.at,
            run_id=newest.run_id,
            start_before=newest.start_before,
            older=tuple(rows),
            status=newest.status,
            cause=newest.cause,
        )
    return request


def _due_of(schedule: Schedule, gate: Gate | None, event: TimedEvent | None) -> datetime | None:
    if event is None or event.kind is not EventKind.FIRE:
        return None
    return _later(event, judge_event(schedule, gate, event).due_at)


def _later(event: TimedEvent, due_at: datetime) -> datetime | None:
    return due_at if due_at > event.at else None


def _passed_occurrence(armed: ArmedEvent, passed: Passed) -> PassedOccurrence:
    at, grace = passed.event.at, armed.schedule.misfire_grace_time
    return PassedOccurrence(
        at,
        run_id(armed.campaign_uuid, at),
        passed.status,
        passed.cause,
        latest_start(passed.due_at, grace),
    )


def _plan_marked(
    armed: ArmedEvent, now: datetime, mark: Mark, brakes_at: datetime | None
) -> ClaimRequest:
    """Plan for the occurrences that a mark is about: the newest of them, or with it the others.

    With coalesce the older ones are skipped. Without it each is decided by the mark; of more than
    a hundred, the newest.
    """
    schedule, event = armed.schedule, armed.event
    newest = schedule.latest_fire(min(now, mark.before - _TICK)) or event
    if newest.at < event.at:
        newest = event
    status, cause = mark.status, mark.cause
    if schedule.coalesce:
        status = "skipped"
        cause = COALESCED_CAUSE
    listed, bulk = _listed_before(schedule, event, newest, cause)
    following = schedule.event_following(newest)
    is_fire = following is not None and following.kind is EventKind.FIRE
    return ClaimRequest(
        armed,
        newest.at,
        run_id(armed.campaign_uuid, newest.at),
        latest_start(newest.at, schedule.misfire_grace_time),
        following,
        is_fire and following is not None and following.at <= now,
        following is not None or schedule.kind is Kind.WINDOW,
        older=_passed_rows(armed, listed, status, cause),
        bulk=bulk,
        status=mark.status,
        cause=mark.cause,
        brakes_at=brakes_at,
    )


def _listed_before(
    schedule: Schedule, first: TimedEvent, newest: TimedEvent, cause: str
) -> tuple[list[TimedEvent], tuple[PassedStretch, ...]]:
    """Return the newest occurrences from `first` to before `newest`, and what is only counted."""
    listed: list[TimedEvent] = []
    event: TimedEvent | None = newest
    while event is not None and event.at > first.at and len(listed) < LISTED_AT_MOST - 1:
        event = schedule.latest_fire(event.at - _TICK)
        if event is not None and event.at >= first.at:
            listed.append(event)
    listed.reverse()
    oldest = listed[0] if listed else newest
    if oldest.at <= first.at:
        return listed, ()
    last = schedule.latest_fire(oldest.at - _TICK) or first
    count = schedule.count_fires(first, last)
    return listed, (PassedStretch(first.at, last.at, count, cause),)


def _passed_rows(
    armed: ArmedEvent, events: Sequence[TimedEvent], status: str, cause: str
) -> tuple[PassedOccurrence, ...]:
    grace = armed.schedule.misfire_grace_time
    return tuple(
        PassedOccurrence(
            event.at,
            run_id(armed.campaign_uuid, event.at),
            status,
            cause,
            latest_start(event.at, grace),
        )
        for event in events
    )


def _passed_occurrences(
    armed: ArmedEvent,
    missed: tuple[TimedEvent, ...],
    skipped: tuple[TimedEvent, ...],
) -> tuple[PassedOccurrence, ...]:
    if not missed and not skipped:
        return ()
    return (
        *_passed_rows(armed, missed, "missed", TOO_LATE_CAUSE),
        *_passed_rows(armed, skipped, "skipped", COALESCED_CAUSE),
    )


def _passed_stretches(late: Late) -> tuple[PassedStretch, ...]:
    return tuple(
        PassedStretch(stretch.first, stretch.last, stretch.count, cause)
        for stretch, cause in (
            (late.bulk_missed, TOO_LATE_CAUSE),
            (late.bulk_skipped, COALESCED_CAUSE),
        )
        if stretch is not None
    )
