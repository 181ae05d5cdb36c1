"""Runs one attempt: deliver, normalise the outcome, apply the retry policy, complete."""

from __future__ import annotations

import asyncio
import random

from daemon.domain.run.attempt import UNREAD, Attempt
from daemon.domain.run.outcome import (
    Delivered,
    Missed,
    NotStarted,
    Outcome,
    OutcomeUnknown,
    Reject,
    Retry,
    normalize,
)
from daemon.domain.run.retry import RetryPolicy, apply_retry_policy
from daemon.domain.run.target import Target
from daemon.pipeline.circuit_breaker import CircuitBreaker
from daemon.pipeline.completer import Completer
from daemon.pipeline.context import PipelineContext

TOO_LATE = "the next attempt would start later than misfire_grace_time"

REPLACED = "the target was replaced by one that sends payloads after the run was claimed"


class AttemptRunner:
    """Attempts on one target.

    Args:
        context: what the stages of the pipeline share.
        completer: receives every outcome.
        breaker: the target's circuit breaker.
        policy: the target's retry policy.
    """

    def __init__(
        self,
        context: PipelineContext,
        completer: Completer,
        breaker: CircuitBreaker,
        policy: RetryPolicy,
    ) -> None:
        self._context = context
        self._completer = completer
        self._breaker = breaker
        self.policy = policy
        self.average_seconds: float | None = None
        """Moving average of an attempt's duration; None until the target answered once."""

    async def run(self, attempt: Attempt, target: Target) -> bool:
        """Carry out an attempt and pass its outcome to the completer.

        Return False if the node lacked the resources to start the attempt, which then has no
        outcome and may start again.

        Raises:
            asyncio.CancelledError: the attempt was cancelled and has no outcome.
        """
        started_at = self._context.turn.now()
        if attempt.start_before < started_at:
            expired = Missed() if attempt.number == 1 else Reject(TOO_LATE)
            self._completer.complete_local(attempt, expired, None, 0.0)
            return True
        if attempt.payload is UNREAD and target.sends_payload:
            again = self.apply_policy(attempt, Retry(REPLACED))
            self._completer.complete_local(attempt, again, None, 0.0)
            return True
        began = self._context.clock.monotonic()
        is_probe = self._breaker.start()
        self._context.in_flight.start(attempt)
        outcome: Outcome
        try:
            outcome = await target.deliver(attempt)
        except Exception as error:
            outcome = OutcomeUnknown(f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            if is_probe:
                self._breaker.half_open()
            raise
        seconds = self._context.clock.monotonic() - began
        if type(outcome) is not Delivered:
            outcome = normalize(outcome)
        if isinstance(outcome, NotStarted):
            self._context.in_flight.take_back(attempt)
            self._breaker.not_started(outcome.reason, was_probe=is_probe)
            return False
        if isinstance(outcome, Retry | OutcomeUnknown):
            self._breaker.failed(outcome.reason, was_probe=is_probe)
            outcome = self.apply_policy(attempt, outcome)
        else:
            self._note_duration(seconds)
            self._breaker.succeeded()
        self._completer.complete_local(attempt, outcome, started_at, seconds)
        return True

    def apply_policy(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """Return what the target's retry policy makes of an outcome."""
        return apply_retry_policy(
            self.policy, attempt.number, attempt.takeovers, outcome, random.random
        )

    def _note_duration(self, seconds: float) -> None:
        # Failures do not count: a target that is down refuses faster than it ever worked.
        former = seconds if self.average_seconds is None else self.average_seconds
        self.average_seconds = 0.9 * former + 0.1 * seconds
