"""The `log` target: a line in the log is the delivery."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.domain.ports import Emit, emit_each
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import Delivered, Outcome
from daemon.domain.run.target import Target

_DIFFERING = (
    "campaign_id",
    "campaign_uuid",
    "run_id",
    "scheduled_for",
    "attempt",
    "campaign_name",
    "payload",
)


class LogTarget(Target):
    """Logs each run with its campaign's payload, at ``level``."""

    batch_size = 200

    def __init__(self, emit: Emit, level: str) -> None:
        self._emit = emit
        self._level = level

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Write the line."""
        (outcome,) = await self.deliver_many([attempt])
        return outcome

    async def deliver_many(self, attempts: Sequence[Attempt]) -> Sequence[Outcome]:
        """Write a line for each attempt."""
        rows = [
            (
                attempt.campaign_id,
                attempt.campaign_uuid,
                attempt.run_id,
                attempt.scheduled_for,
                attempt.number,
                attempt.campaign_name,
                attempt.payload,
            )
            for attempt in attempts
        ]
        fields: dict[str, object] = {
            "level": self._level,
            "campaign_id": None,
            "campaign_uuid": None,
            "run_id": None,
            "scheduled_for": None,
            "attempt": None,
            "target": attempts[0].target,
            "campaign_name": None,
            "payload": None,
        }
        emit_each(self._emit, "delivered", fields, _DIFFERING, rows)
        return [Delivered()] * len(attempts)
