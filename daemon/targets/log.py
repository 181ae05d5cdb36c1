"""The `log` target: a run is delivered by being a line in the log."""

from __future__ import annotations

from daemon.domain.ports import Emit
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Delivered, Outcome
from daemon.domain.run.target import Target


class LogTarget(Target):
    """Writes each run, with its campaign's payload, at ``level``."""

    def __init__(self, emit: Emit, level: str) -> None:
        self._emit = emit
        self._level = level

    async def deliver(self, work: Attempt) -> Outcome:
        """One line; done."""
        self._emit(
            "delivered",
            level=self._level,
            campaign_id=work.campaign_id,
            campaign_uuid=work.campaign_uuid,
            campaign_name=work.campaign_name,
            run_id=work.run_id,
            scheduled_for=work.scheduled_for,
            attempt=work.attempt,
            target=work.target,
            payload=work.payload,
        )
        return Delivered()
