"""The values that travel the pipeline, from the armed event to the written result.

The order is ArmedEvent -> ClaimRequest (in `claim_plan`) -> ClaimResult -> Attempt -> FinishResult.
Values that are made for every run are named tuples: making one costs a fifth of a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.run.outcome import Outcome
from daemon.domain.schedule.schedule import Schedule, TimedEvent


class ArmedEvent(NamedTuple):
    """The next event of a stored schedule: what the timer holds in its window.

    ``due_at`` is the event's own instant, or later where its send window made it wait.
    """

    campaign_id: int
    campaign_uuid: UUID
    revision: int
    event: TimedEvent
    schedule: Schedule
    target: str
    due_at: datetime


class PendingRun(NamedTuple):
    """A run whose next attempt is due at ``at``."""

    campaign_id: int
    scheduled_for: datetime
    at: datetime
    target: str


DueEntry = ArmedEvent | PendingRun
"""What the timer hands to the pipeline: a first attempt to claim, or a later one."""


@dataclass(frozen=True, slots=True)
class PollResult:
    """What one poll of the database found to load."""

    xmin: str
    """The transaction id from which the next poll continues."""
    campaign_ids: list[int]
    """Campaigns whose schedules were written since the last poll."""
    overdue: bool
    waiting: bool
    snapshot: str = ""
    """What the poll could see, as PostgreSQL writes a snapshot."""
    brakes_at: datetime | None = None
    """The last change of the brakes; None: there never was one."""
    pause_over: bool = False
    """Whether the pause of any campaign is over."""
    calendars_revision: int = 0
    """The revision of all shared calendars together."""


class OverdueEvent(NamedTuple):
    """Key of an event that no node claimed in time: campaign, revision, due instant."""

    campaign_id: int
    revision: int
    at: datetime


AttemptKey = tuple[int, datetime]
"""Key of a run in memory: campaign id, scheduled instant."""


UNREAD: dict[str, Any] = {}
"""The payload of attempts whose target does not send it; only this object stands for that."""


class Attempt(NamedTuple):
    """One attempt to carry out a run, as claimed by this node."""

    campaign_id: int
    campaign_uuid: UUID
    campaign_name: str
    run_id: UUID
    scheduled_for: datetime
    number: int
    """From 1: the first attempt of the run is 1."""
    target: str
    payload: dict[str, Any]
    claimed_at: datetime
    start_before: datetime
    """Latest instant at which the attempt may start; see docs/semantics.md#runs."""
    takeovers: int = 0
    """Earlier attempts that were lost with their node."""
    started_at: datetime | None = None
    """Start of the first attempt, where this attempt follows it."""
    due_at: datetime | None = None
    """When the run was due, where that is later than ``scheduled_for``."""
    open_until: datetime | None = None
    """When the send window closes in which the attempt may start; None without an end."""

    @property
    def key(self) -> AttemptKey:
        """The key of the attempt's run in memory."""
        return self.campaign_id, self.scheduled_for

    def log_fields(self) -> dict[str, object]:
        """Return the keys that identify the run in a log line."""
        return _log_fields(self)


class ClaimResult(NamedTuple):
    """Due events that this node has won, all with the same result."""

    places: Sequence[int]
    """Indexes of the events among the claim requests."""
    from_status: Status
    to_status: Status
    claimed_at: datetime
    target: str
    made: str | None
    """Status of the new runs; None when the events have no run, or the runs existed already."""
    attempts: Sequence[Attempt] = ()
    """One for each event if the new runs are executing, else none."""


@dataclass(frozen=True, slots=True)
class ExpiredAttempt:
    """A pending run whose attempt may not start any more; to be finished with ``outcome``."""

    attempt: Attempt
    expected: str
    """Status in which the run was found."""
    outcome: Outcome


class WorkerResult(NamedTuple):
    """A worker's answer in the table, not yet written as the outcome of its attempt."""

    attempt: Attempt
    outcome: Outcome
    worker: str
    seconds: float
    """Seconds from the attempt's claim to the answer."""


@dataclass(frozen=True, slots=True)
class ReclaimedRun:
    """A run taken back from its node, or from the worker or receiver that was to finish it."""

    campaign_id: int
    campaign_uuid: UUID
    run_id: UUID
    scheduled_for: datetime
    number: int
    target: str
    status: str
    """``retrying`` or ``held``, by the target's ``on_lost``."""
    error: str | None
    """The reason, as written in the run's row."""

    def log_fields(self) -> dict[str, object]:
        """Return the keys that identify the run in a log line."""
        return _log_fields(self)


class FinishedAttempt(NamedTuple):
    """An outcome on its way to the database, with the status that its run is expected to have."""

    attempt: Attempt
    outcome: Outcome
    expected: str
    started_at: datetime | None = None
    """By the database clock; None when this node did not make the attempt."""
    seconds: float | None = None
    """Duration of the attempt, where one was made."""
    actor: str | None = None
    """The worker that ended the attempt; None for this node."""


class FinishResult(NamedTuple):
    """Outcomes that are durably in the database, all with the same result."""

    places: Sequence[int]
    """Indexes of the outcomes among those that were to be written."""
    status: RunStatus
    from_status: Status
    to_status: Status
    promoted: bool
    """True when queued runs of these campaigns are due now."""


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt under way, as far as its end is decided by it."""

    attempt: int
    takeovers: int
    target: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A written outcome of one run, as the log reports it."""

    status: RunStatus
    campaign_id: int
    campaign_uuid: UUID
    run_id: UUID
    scheduled_for: datetime
    started_at: datetime
    """Start of the first attempt; without an attempt, the instant of the decision."""
    attempt: int
    target: str
    duration: timedelta | None = None
    """Duration of the attempt, from its claim to its end."""
    error: str | None = None
    from_status: Status | None = None
    to_status: Status | None = None
    actor: str | None = None
    """The key, worker or operator that ended the run; None for the node that made the attempt."""


@dataclass(frozen=True, slots=True)
class AttemptUpdate:
    """The state of a run after an external answer: complete, fail, heartbeat or release."""

    run_id: UUID
    campaign_id: int
    status: RunStatus
    attempt: int
    changed: bool
    """False when the same answer was given before."""
    lease_until: datetime | None = None
    next_attempt_at: datetime | None = None
    ended: RunEnded | None = None
    """What to log; None when nothing ended."""


def _log_fields(run: Attempt | ReclaimedRun) -> dict[str, object]:
    return {
        "campaign_id": run.campaign_id,
        "campaign_uuid": run.campaign_uuid,
        "run_id": run.run_id,
        "scheduled_for": run.scheduled_for,
        "attempt": run.number,
        "target": run.target,
    }
