"""Read models: the frozen values that storage returns and that the API and the CLI show.

Each class has one definition, here; `storage` builds it from rows. Instants are aware, in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from daemon.domain.brakes import Brake
from daemon.domain.campaign.model import Campaign, Run, Snapshot
from daemon.domain.campaign.state_machine import Status
from daemon.domain.requests import CurrentSchedule
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.schedule import CampaignType, EventKind, TimedEvent
from daemon.domain.schedule.timezones import local_time

Ref = int | UUID
"""A campaign's id or UUID."""
RunKey = tuple[datetime, int, datetime]
"""Position in a list of runs: claimed_at, campaign_id, scheduled_for."""
UpcomingKey = tuple[datetime, int]
"""Position in a list of upcoming events: due instant, campaign_id."""


@dataclass(frozen=True, slots=True)
class CampaignSummary:
    """A campaign in a list, without its payload. ``next_run_at`` is None when no run is armed."""

    campaign: Campaign
    next_run_at: datetime | None
    next_event_at: datetime | None
    ends_at: datetime | None
    rrule: str | None


@dataclass(frozen=True, slots=True)
class Pause:
    """The present pause of a campaign, from its history; what was pruned is None.

    ``by`` and ``note`` are those of the last command. ``until`` is None when nothing ends the pause
    by itself.
    """

    since: datetime | None
    by: str | None
    until: datetime | None
    note: str | None


@dataclass(frozen=True, slots=True)
class CampaignDetail:
    """One campaign in full, as of ``now``, the database's clock.

    ``timer`` is the armed event, due at ``due_at`` where that is later than its own time.
    ``rrule``, ``revision`` and ``saved_at`` belong to the schedule.
    """

    campaign: Campaign
    current: CurrentSchedule | None
    timer: TimedEvent | None
    rrule: str | None
    revision: int | None
    saved_at: datetime | None
    now: datetime
    pause: Pause | None = None
    """Of a paused campaign."""
    due_at: datetime | None = None
    calendars: Mapping[str, Calendar] = field(default_factory=dict)

    @property
    def snapshot(self) -> Snapshot:
        """The campaign as commands see it, without its newest occurrence."""
        return Snapshot(
            self.campaign,
            self.now,
            self.current,
            self.timer,
            revision=self.revision,
            saved_at=self.saved_at,
            due_at=self.due_at,
            calendars=self.calendars,
        )


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with its campaign's UUID, name and target."""

    run: Run
    campaign_uuid: UUID
    campaign_name: str
    target: str

    @property
    def key(self) -> RunKey:
        """The run's position in a list; the next page begins after it."""
        return (self.run.claimed_at, self.run.campaign_id, self.run.scheduled_for)


@dataclass(frozen=True, slots=True)
class UpcomingEvent:
    """An event to come of a campaign; ``nominal`` is its naive wall-clock time in ``timezone``."""

    campaign_id: int
    campaign_uuid: UUID
    campaign_name: str
    type: CampaignType
    status: Status
    kind: EventKind
    at: datetime
    nominal: datetime
    timezone: str
    frozen: bool = False
    """Whether a freeze keeps it from running."""

    @property
    def local(self) -> datetime:
        """The naive time that clocks show: for a nominal time in a gap, the one after the gap."""
        return local_time(self.at, self.timezone) or self.nominal

    @property
    def key(self) -> UpcomingKey:
        """The event's position in a list; the next page begins after it."""
        return (self.at, self.campaign_id)


@dataclass(frozen=True, slots=True)
class RunsOfPeriod:
    """The runs of one period: their number by status, and some of them, failures first."""

    counts: dict[str, int]
    first: tuple[RunDetail, ...]


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as of its last heartbeat; ages are in seconds, by the database's clock."""

    id: str
    name: str
    host: str
    pid: int
    version: str
    tzdata: str
    live: bool
    draining: bool
    started_at: datetime
    heartbeat_age: float
    lease_left: float
    skew_ms: int
    shards: int
    schema_version: str


@dataclass(frozen=True, slots=True)
class SchemaInfo:
    """The version of a database's schema; None when the database was never migrated."""

    version: str | None
    compatible_since: str | None
    is_newer: bool
    """Whether a later release has migrated the database."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the whole cluster at ``now``, the database's clock.

    ``overdue`` counts due events that no node has claimed, ``backlog`` those that wait for their
    campaign's open run. ``executing`` counts the runs in flight, and the accepted runs claimed
    since the oldest run in flight; ``queued`` counts the runs about to start. ``held`` counts all
    that need a person, ``failed`` and ``missed`` those of the last 24 hours.
    """

    now: datetime
    nodes: list[NodeState]
    overdue: int
    backlog: int
    oldest_overdue_at: datetime | None
    next_event_at: datetime | None
    executing: int
    retrying: int
    queued: int
    held: int
    failed: int
    missed: int
    server_version: str
    schema: SchemaInfo
    frozen: Sequence[Brake] = ()
    """The freezes in force."""

    @property
    def lag(self) -> float:
        """Seconds that the oldest due event has been waiting for a node."""
        if self.oldest_overdue_at is None:
            return 0.0
        return (self.now - self.oldest_overdue_at).total_seconds()


@dataclass(frozen=True, slots=True)
class StatusCounts:
    """Number of campaigns and of runs, by status."""

    campaigns: dict[str, int]
    runs: dict[str, int]


@dataclass(frozen=True, slots=True)
class PruneStats:
    """Number of rows that one transaction of the pruner deleted."""

    runs: int
    events: int
