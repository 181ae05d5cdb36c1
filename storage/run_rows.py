"""The values that rows of runs hold."""

from __future__ import annotations

from typing import Any

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.run.attempt import UNREAD, Attempt, ReclaimedRun

STATUS = {status.value: status for status in Status}
RUN_STATUS = {status.value: status for status in RunStatus}


def attempt_from(row: Any, number: int) -> Attempt:
    """Return the Attempt that a row of a claim holds."""
    return Attempt(
        campaign_id=row.campaign_id,
        campaign_uuid=row.uuid,
        campaign_name=row.name,
        run_id=row.run_id,
        scheduled_for=row.scheduled_for,
        number=number,
        target=row.target,
        payload=UNREAD if row.payload is None else row.payload,
        claimed_at=row.now,
        start_before=row.start_before,
        takeovers=row.takeovers,
        started_at=row.started_at,
    )


def reclaimed_from(row: Any) -> ReclaimedRun:
    """Return the ReclaimedRun that a row of a reclaiming statement holds."""
    return ReclaimedRun(
        campaign_id=row.campaign_id,
        campaign_uuid=row.uuid,
        run_id=row.run_id,
        scheduled_for=row.scheduled_for,
        number=row.attempt,
        target=row.target,
        status=row.status,
        error=row.error,
    )
