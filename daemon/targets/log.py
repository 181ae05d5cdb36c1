"""The `log` target: a line in the log is the delivery."""

from __future__ import annotations

from daemon.domain.ports import Emit
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Delivered, Outcome
from daemon.domain.run.target import Target


class LogTarget(Target):
    """Logs each run with its campaign's payload, at ``level``."""

    def __init__(self, emit: Emit, level: str) -> None:
        self._emit = emit
        self._level = level

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Write the line."""
        self._emit(
            "delivered",
            level=self._level,
            **attempt.log_fields(),
            campaign_name=attempt.campaign_name,
            payload=attempt.payload,
        )
        return Delivered()
