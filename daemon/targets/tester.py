"""Sends a target a message that says that it is a test, outside the pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from daemon.domain.errors import NotFound, Refused
from daemon.domain.ports import Emit
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import (
    Accepted,
    Delivered,
    NotStarted,
    Outcome,
    OutcomeUnknown,
    Queued,
    Reject,
    Retry,
)
from daemon.runtime.clock import SystemClock
from daemon.targets.message import TEST_CAMPAIGN_ID
from daemon.targets.registry import build_all

NO_CAMPAIGN = UUID(int=0)
_NAMES = {
    Delivered: "delivered",
    Accepted: "accepted",
    Queued: "queued",
    Retry: "failed",
    Reject: "rejected",
    OutcomeUnknown: "unknown",
    NotStarted: "not_started",
}
_STARTS_WITHIN = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class TargetTested:
    """The result of a test message."""

    run_id: UUID
    """The id that the message has as its run."""
    delivered: bool
    outcome: str
    detail: str | None
    """The reason why it was not delivered."""
    seconds: float


class TargetTester:
    """Builds a target for one message, so that a test disturbs no run.

    Args:
        settings: returns the settings of the configured targets, by name.
        environment: variables that commands inherit.
        emit: receives the events of the targets.
    """

    def __init__(
        self,
        settings: Callable[[], Mapping[str, Any]],
        environment: Mapping[str, str],
        emit: Emit,
    ) -> None:
        self._settings = settings
        self._environment = environment
        self._emit = emit

    async def send(self, name: str, actor: str) -> TargetTested:
        """Send a test message. Raises NotFound, Refused."""
        settings = self._settings().get(name)
        if settings is None:
            raise NotFound(f"no target is called {name!r}", message="Target not found")
        if settings.type == "postgres":
            raise Refused(
                f"{name} is a queue in the table: its workers acquire runs, and nothing is sent",
                message="Target not tested",
            )
        built = build_all({name: settings}, self._emit, environment=self._environment)
        target = built[name][0]
        now = SystemClock().now()
        attempt = Attempt(
            campaign_id=TEST_CAMPAIGN_ID,
            campaign_uuid=NO_CAMPAIGN,
            campaign_name="Test of campaignd",
            run_id=uuid4(),
            scheduled_for=now,
            number=1,
            target=name,
            payload={"test": True, "sent_by": actor},
            claimed_at=now,
            start_before=now + _STARTS_WITHIN,
        )
        began = time.monotonic()
        try:
            outcome: Outcome = await target.deliver(attempt)
        except Exception as error:
            return _tested(attempt, "error", f"{type(error).__name__}: {error}", began)
        finally:
            await target.close()
        is_taken = isinstance(outcome, Delivered | Accepted | Queued)
        reason = None if is_taken else getattr(outcome, "reason", "it was not tried")
        return _tested(attempt, _NAMES.get(type(outcome), "failed"), reason, began)


def _tested(attempt: Attempt, outcome: str, detail: str | None, began: float) -> TargetTested:
    return TargetTested(attempt.run_id, detail is None, outcome, detail, time.monotonic() - began)
