"""The values that travel the pipeline: armed -> planned -> claimed -> work -> written.

Named tuples, because several are made for every run: they cost a fifth of a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from daemon.domain.campaign.state_machine import Status
from daemon.domain.run.outcome import Outcome
from daemon.domain.schedule.schedule import Schedule, TimedEvent


class ArmedEvent(NamedTuple):
    """A schedule's next event, as loaded: what the timer holds."""

    campaign_id: int
    campaign_uuid: UUID
    revision: int
    event: TimedEvent
    schedule: Schedule
    target: str


class PendingRun(NamedTuple):
    """A run whose next attempt is due at ``at``."""

    campaign_id: int
    scheduled_for: datetime
    at: datetime
    target: str


@dataclass(frozen=True, slots=True)
class PollResult:
    """What a look at the database found there is to load."""

    xmin: str
    """The transaction from which the next look goes on."""
    campaign_ids: list[int]
    """Campaigns whose schedules were written since the last look."""
    overdue: bool
    waiting: bool


class OverdueEvent(NamedTuple):
    """An event that nobody claimed in time, by what tells it from another of its campaign."""

    campaign_id: int
    revision: int
    at: datetime


class Attempt(NamedTuple):
    """One attempt to carry out, as claimed."""

    campaign_id: int
    campaign_uuid: UUID
    campaign_name: str
    run_id: UUID
    scheduled_for: datetime
    attempt: int
    target: str
    payload: dict[str, Any]
    claimed_at: datetime
    start_before: datetime
    takeovers: int = 0
    started_at: datetime | None = None
    """When the first attempt began, if this one follows it."""


class ClaimResult(NamedTuple):
    """What became of one due event that this node won."""

    place: int
    """Of the event among those that were put to the claim."""
    from_status: Status
    to_status: Status
    claimed_at: datetime
    target: str
    made: str | None
    """The status the run was made with; None if the event has no run or it had one already."""
    work: Attempt | None
    """Set when the run was made executing."""


@dataclass(frozen=True, slots=True)
class ExpiredAttempt:
    """A waiting run whose attempt may not start any more; to be finished with this outcome."""

    work: Attempt
    expected: str
    outcome: Outcome


class WorkerResult(NamedTuple):
    """What a worker has said of its attempt in the table, still to be written as an outcome."""

    work: Attempt
    outcome: Outcome
    worker: str
    seconds: float
    """From the attempt's claim to the answer."""


@dataclass(frozen=True, slots=True)
class ReclaimedRun:
    """A run that its node, or whoever was to finish it later, did not end."""

    campaign_id: int
    campaign_uuid: UUID
    run_id: UUID
    scheduled_for: datetime
    attempt: int
    target: str
    status: str
    """``retrying`` or ``held``, as the target's ``on_lost`` has it."""
    error: str | None
    """Why, as the run's row says it."""
