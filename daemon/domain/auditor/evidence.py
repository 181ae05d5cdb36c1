"""What the auditor reads about one campaign, in one snapshot of the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from daemon.domain.schedule.schedule import Kind, Schedule, TimedEvent


class AuditedRun(NamedTuple):
    """A run, as far as the auditor judges it."""

    scheduled_for: datetime
    id: UUID
    cause: str
    status: str
    attempt: int
    node: str | None = None
    lease_until: datetime | None = None
    waits: bool = False
    """Whether it is queued until the open run of its campaign has ended."""


class AuditedEvent(NamedTuple):
    """A row of the history that the auditor judges."""

    event: str
    cause: str | None
    actor: str
    run_id: UUID | None
    scheduled_for: datetime | None
    details: dict[str, Any] | None


class AuditedCampaign(NamedTuple):
    """A campaign with what it records about itself.

    `runs` and `events` are those after the instant from which the campaign is looked at, oldest
    first. `open_runs` are all of its open ones, `open_count` is the counter.
    """

    id: int
    name: str
    status: str
    now: datetime
    open_count: int = 0
    queued_count: int = 0
    held_count: int = 0
    more_to_come: bool = False
    has_due: bool = False
    has_completed: bool = False
    schedule: Schedule | None = None
    is_comparable: bool = True
    """Whether this process computes instants by the time-zone data of the stored ones."""
    is_gated: bool = False
    """Whether some occurrences are left out by conditions, so that stretches have gaps."""
    saved_at: datetime | None = None
    armed_from: datetime | None = None
    oldest_event_at: datetime | None = None
    timer: TimedEvent | None = None
    runs: tuple[AuditedRun, ...] = ()
    open_runs: tuple[AuditedRun, ...] = ()
    events: tuple[AuditedEvent, ...] = ()

    @property
    def is_open_window(self) -> bool:
        """Return whether the schedule is a window without an end, which needs no timer."""
        schedule = self.schedule
        return schedule is not None and schedule.kind is Kind.WINDOW and schedule.ends_at is None


class Look(NamedTuple):
    """One campaign with its evidence."""

    campaign: AuditedCampaign
    start: datetime
    """The instant after which its runs and events were read."""
    nodes: frozenset[str] = frozenset()
    """The ids of all nodes that the database knows, lost ones included."""
