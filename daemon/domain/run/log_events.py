"""What the log says of a run whose outcome was written: the event, and its keys.

Whoever writes an outcome tells of it, once it is committed; so each ending has one line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from daemon.domain.campaign.state_machine import RunStatus, Status

if TYPE_CHECKING:
    from daemon.domain.ports import Emit
    from daemon.domain.run.attempt import ReclaimedRun

EVENTS: dict[RunStatus, str] = {
    RunStatus.COMPLETED: "run_finished",
    RunStatus.FAILED: "run_failed",
    RunStatus.CANCELLED: "run_cancelled",
    RunStatus.MISSED: "run_missed",
    RunStatus.RETRYING: "run_retrying",
    RunStatus.HELD: "run_held",
    RunStatus.QUEUED: "run_parked",
    RunStatus.EXECUTING: "run_accepted",
}
"""The event that tells of an outcome, by the status that it leaves the run in."""


@dataclass(frozen=True, slots=True)
class RunEnded:
    """An outcome that was written, of one run."""

    status: RunStatus
    campaign_id: int
    campaign_uuid: UUID
    run_id: UUID
    scheduled_for: datetime
    began: datetime
    """Of its first attempt, or, of what had none, when that was decided."""
    attempt: int
    target: str
    took: timedelta | None = None
    """Of the attempt, from its claim to its end."""
    error: str | None = None
    from_status: Status | None = None
    to_status: Status | None = None
    actor: str | None = None
    """Who ended it, if it was not a node that made the attempt itself."""


def milliseconds(span: timedelta) -> float:
    """As the keys that end in ``_ms`` have it."""
    return round(span.total_seconds() * 1000, 3)


def emit_ended(emit: Emit, ending: RunEnded) -> None:
    """Write the line of an outcome."""
    emit(
        EVENTS[ending.status],
        campaign_id=ending.campaign_id,
        campaign_uuid=ending.campaign_uuid,
        run_id=ending.run_id,
        scheduled_for=ending.scheduled_for,
        attempt=ending.attempt,
        target=ending.target,
        lateness_ms=milliseconds(ending.began - ending.scheduled_for),
        duration_ms=None if ending.took is None else milliseconds(ending.took),
        outcome=ending.status,
        from_status=ending.from_status,
        to_status=ending.to_status,
        error=ending.error,
        actor=ending.actor,
    )


def emit_held(emit: Emit, taken: Iterable[ReclaimedRun]) -> None:
    """Tell of those among them that are held."""
    for run in taken:
        if run.status == RunStatus.HELD:
            emit("run_held", **log_fields(run), error=run.error)


def log_fields(run: ReclaimedRun) -> dict[str, Any]:
    """What identifies a run in a line, and what became of it."""
    return {
        "campaign_id": run.campaign_id,
        "campaign_uuid": run.campaign_uuid,
        "run_id": run.run_id,
        "scheduled_for": run.scheduled_for,
        "attempt": run.attempt,
        "target": run.target,
        "outcome": run.status,
    }
