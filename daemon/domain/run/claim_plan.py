"""Plans a claim: from a due event to the input of the claim statement, without any lock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from daemon.domain.campaign.model import latest_start, run_id
from daemon.domain.run.attempt import ArmedEvent
from daemon.domain.schedule.misfire import Late, decide
from daemon.domain.schedule.schedule import EventKind, Kind, TimedEvent

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
    is_plain: bool = False
    """Whether this is a single occurrence, followed by another or by nothing.

    The store claims plain requests by a short statement, as far as their campaigns are idle.
    """


def plan(armed: ArmedEvent, now: datetime) -> ClaimRequest:
    """Return what to claim for an event that is due at ``now``, by the database clock.

    The newest occurrence of a late stretch is the one to carry out, even when it seems too late:
    the claim decides that by its own clock.
    """
    schedule, event = armed.schedule, armed.event
    if event.kind is not EventKind.FIRE:
        following = schedule.event_following(event)
        more = following is not None or event.kind is EventKind.OPEN
        return ClaimRequest(armed, None, None, None, following, False, more)
    grace = schedule.misfire_grace_time
    if schedule.kind is Kind.ONCE:
        identity = run_id(armed.campaign_uuid, event.at)
        latest = latest_start(event.at, grace)
        return ClaimRequest(armed, event.at, identity, latest, None, False, False, is_plain=True)
    late = decide(schedule, event, max(now, event.at))
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
        is_plain=fire is event
        and more == is_followed_by_fire
        and not (backlog or last_missed or bulk),
    )


def _passed_occurrences(
    armed: ArmedEvent,
    missed: tuple[TimedEvent, ...],
    skipped: tuple[TimedEvent, ...],
) -> tuple[PassedOccurrence, ...]:
    if not missed and not skipped:
        return ()
    grace = armed.schedule.misfire_grace_time
    return tuple(
        PassedOccurrence(
            event.at,
            run_id(armed.campaign_uuid, event.at),
            status,
            cause,
            latest_start(event.at, grace),
        )
        for events, status, cause in (
            (missed, "missed", TOO_LATE_CAUSE),
            (skipped, "skipped", COALESCED_CAUSE),
        )
        for event in events
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
