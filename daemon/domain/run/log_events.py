"""The log events of runs whose state was written: one line for each outcome and each held run.

The component that commits an outcome emits its event, after the commit; so every end of a run is
logged once. See docs/logs.md for which process logs what.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.ports import Emit
from daemon.domain.run.attempt import ReclaimedRun, RunEnded

EVENTS: dict[RunStatus, str] = {
    RunStatus.COMPLETED: "run_finished",
    RunStatus.FAILED: "run_failed",
    RunStatus.CANCELLED: "run_cancelled",
    RunStatus.MISSED: "run_missed",
    RunStatus.RETRYING: "run_retrying",
    RunStatus.HELD: "run_held",
    RunStatus.QUEUED: "run_awaiting_worker",
    RunStatus.EXECUTING: "run_accepted",
}
"""The event of an outcome, by the status in which the outcome leaves the run."""


def milliseconds(span: timedelta) -> float:
    """Return a duration in milliseconds, as log keys that end in ``_ms`` carry it."""
    return round(span.total_seconds() * 1000, 3)


def emit_ended(emit: Emit, ended: RunEnded) -> None:
    """Emit the event of one written outcome."""
    emit(
        EVENTS[ended.status],
        campaign_id=ended.campaign_id,
        campaign_uuid=ended.campaign_uuid,
        run_id=ended.run_id,
        scheduled_for=ended.scheduled_for,
        attempt=ended.attempt,
        target=ended.target,
        lateness_ms=milliseconds(ended.started_at - ended.scheduled_for),
        duration_ms=None if ended.duration is None else milliseconds(ended.duration),
        outcome=ended.status,
        from_status=ended.from_status,
        to_status=ended.to_status,
        error=ended.error,
        actor=ended.actor,
    )


def emit_held(emit: Emit, reclaimed: Iterable[ReclaimedRun]) -> None:
    """Emit one ``run_held`` for each reclaimed run that needs an operator's decision.

    All of them are emitted in one turn of the event loop, right after the write, so that a crash
    cannot leave a part of the batch unlogged. Batches are small enough for that.
    """
    for run in reclaimed:
        if run.status == RunStatus.HELD:
            emit("run_held", **run.log_fields(), outcome=run.status, error=run.error)
