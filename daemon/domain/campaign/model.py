"""Campaigns and runs as values, and the change that a command makes to a campaign."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from daemon.domain.campaign.state_machine import Event, RunStatus, Status
from daemon.domain.requests import CurrentSchedule, ParsedSchedule
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.misfire import Stretch
from daemon.domain.schedule.schedule import CampaignType, TimedEvent

NAME_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign (docs/semantics.md#campaigns), with the facts that decide its transitions."""

    id: int
    uuid: UUID
    name: str
    type: CampaignType
    status: Status
    timezone: str = "UTC"
    target: str = "log"
    payload: dict[str, Any] = field(default_factory=dict)
    open_runs: int = 0
    held_runs: int = 0
    """The open runs that are held before their first attempt, and in no other run's way."""
    queued_runs: int = 0
    more_to_come: bool = False
    has_due: bool = False
    has_completed: bool = False
    archived_from: Status | None = None
    paused_until: datetime | None = None
    """Instant at which a paused campaign resumes by itself."""
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a campaign (docs/semantics.md#runs). Instants are aware UTC."""

    id: UUID
    campaign_id: int
    scheduled_for: datetime
    status: RunStatus
    attempt: int
    claimed_at: datetime
    start_before: datetime
    node: str | None = None
    takeovers: int = 0
    cause: str = "schedule"
    started_at: datetime | None = None
    next_attempt_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None

    @property
    def lateness_ms(self) -> float | None:
        """Return the milliseconds from the scheduled instant to the first attempt's start."""
        if self.started_at is None:
            return None
        return (self.started_at - self.scheduled_for).total_seconds() * 1000


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event of a campaign's history: a row of ``campaign_events``."""

    id: int
    campaign_id: int
    at: datetime
    event: str
    from_status: str | None
    to_status: str | None
    cause: str | None
    actor: str
    run_id: UUID | None
    scheduled_for: datetime | None
    details: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A campaign whose row is locked, with all facts that a command needs."""

    campaign: Campaign
    now: datetime
    current: CurrentSchedule | None = None
    timer: TimedEvent | None = None
    last_occurrence_at: datetime | None = None
    """The newest occurrence of the current schedule that has its run row."""
    revision: int | None = None
    """Revision of the current schedule; every write changes it."""
    saved_at: datetime | None = None
    """Instant at which the current schedule was saved."""
    due_at: datetime | None = None
    """When the armed event is due, where that is later than its own time."""
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    """All shared calendars, where the command or the current schedule needs any."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that the operator asked for: due at once, or once the open runs have ended."""

    scheduled_for: datetime
    cause: str
    grace: int
    """Seconds after ``scheduled_for`` in which the first attempt may start."""
    waits: bool = False
    """Whether it waits until the campaign's open runs have ended, as `Overlap.QUEUE` has it."""


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """A failed run that the operator retries: due at once."""

    run_id: UUID
    grace: int
    """Seconds from now in which the next attempt may start."""


@dataclass(frozen=True, slots=True)
class Change:
    """The effect of an accepted command: one transaction, with its event row."""

    event: Event
    to_status: Status
    cause: str | None = None
    note: str | None = None
    """The operator's words, for the history."""
    paused_until: datetime | None = None
    """Of a pause: the instant of its end."""
    type: CampaignType | None = None
    schedule: ParsedSchedule | None = None
    """The schedule to write, with a new revision."""
    clear_schedule: bool = False
    keep_timer: bool = True
    """False replaces the timer by ``timer``, or removes it when that is None."""
    timer: TimedEvent | None = None
    more_to_come: bool = False
    forget_history: bool = False
    run: NewRun | None = None
    cancel_open_runs: bool = False
    retry: RetryRequest | None = None
    archived_from: Status | None = None
    delete: bool = False
    missed: tuple[TimedEvent, ...] = ()
    """Due, unclaimed occurrences that the command drops; each gets a `missed` row."""
    bulk_missed: Stretch | None = None
    nothing: bool = False
    """The command is accepted and changes nothing, as when a started campaign is started."""


def run_id(campaign: UUID, scheduled_for: datetime) -> UUID:
    """Return the UUIDv5 of the campaign's uuid and the instant: the same on every node."""
    name = campaign.bytes + _uuid_name_of(scheduled_for)
    digest = hashlib.sha1(name, usedforsecurity=False).digest()
    return UUID(bytes=digest[:16], version=5)


@lru_cache(maxsize=256)
def _uuid_name_of(instant: datetime) -> bytes:
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text}Z".encode()


def latest_start(scheduled_for: datetime, grace_seconds: int) -> datetime:
    """Return the last instant at which a first attempt may start."""
    try:
        return scheduled_for + timedelta(seconds=grace_seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
