"""Runs one attempt: deliver, normalise the outcome, apply the retry policy, complete."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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


@dataclass(slots=True, eq=False)
class Delivery:
    """Attempts that a worker of the pool hands to a target together."""

    worker: asyncio.Task[None]
    target: Target
    attempts: list[Attempt]
    """Those that are not cancelled."""


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

    async def run(self, delivery: Delivery) -> Sequence[Attempt]:
        """Carry out attempts and pass their outcomes to the completer.

        Returns:
            Attempts that the node lacked the resources to start. They have no outcome, and may
            start again.

        Raises:
            asyncio.CancelledError: the delivery was cancelled, and its attempts have no outcome.
        """
        started_at = self._context.turn.now()
        if not self._drop_unready(delivery, started_at):
            return ()
        attempts, target = list(delivery.attempts), delivery.target
        began = self._context.clock.monotonic()
        is_probe = self._breaker.start()
        self._context.in_flight.start(attempts)
        outcomes: Sequence[Outcome]
        try:
            outcomes = await target.deliver_many(attempts)
        except Exception as error:
            outcomes = [OutcomeUnknown(f"{type(error).__name__}: {error}")] * len(attempts)
        except asyncio.CancelledError:
            if is_probe:
                self._breaker.half_open()
            raise
        if len(outcomes) != len(attempts):
            reason = f"the target returned {len(outcomes)} outcomes for {len(attempts)} runs"
            outcomes = [OutcomeUnknown(reason)] * len(attempts)
        seconds = (self._context.clock.monotonic() - began) / len(attempts)
        if len(delivery.attempts) < len(attempts):  # some were cancelled meanwhile
            kept = {attempt.run_id for attempt in delivery.attempts}
            pairs = zip(attempts, outcomes, strict=True)
            outcomes = [outcome for attempt, outcome in pairs if attempt.run_id in kept]
        return self._complete(delivery.attempts, outcomes, started_at, seconds, is_probe=is_probe)

    def _drop_unready(self, delivery: Delivery, now: datetime) -> bool:
        """Complete attempts that may not start; return whether any is left."""
        ready = []
        outcome: Outcome
        for attempt in delivery.attempts:
            if attempt.start_before < now:
                outcome = Missed() if attempt.number == 1 else Reject(TOO_LATE)
            elif attempt.payload is UNREAD and delivery.target.sends_payload:
                outcome = self.apply_policy(attempt, Retry(REPLACED))
            else:
                ready.append(attempt)
                continue
            self._completer.complete_local([(attempt, outcome)], None, 0.0)
        delivery.attempts = ready
        return bool(ready)

    def _complete(
        self,
        attempts: Sequence[Attempt],
        outcomes: Sequence[Outcome],
        started_at: datetime,
        seconds: float,
        *,
        is_probe: bool,
    ) -> list[Attempt]:
        """Pass on the outcomes, after the retry policy; return the attempts without an outcome."""
        not_started: list[Attempt] = []
        ended: list[tuple[Attempt, Outcome]] = []
        has_answered = False
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            if type(outcome) is not Delivered:
                outcome = normalize(outcome)
                if isinstance(outcome, NotStarted):
                    self._context.in_flight.take_back(attempt)
                    self._breaker.not_started(outcome.reason, was_probe=is_probe)
                    not_started.append(attempt)
                    continue
            if isinstance(outcome, (Retry, OutcomeUnknown)):
                self._breaker.failed(outcome.reason, was_probe=is_probe)
                outcome = self.apply_policy(attempt, outcome)
            else:
                has_answered = True
            ended.append((attempt, outcome))
        if has_answered:
            self._breaker.succeeded()
            self._note_duration(seconds)
        self._completer.complete_local(ended, started_at, seconds)
        return not_started

    def apply_policy(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """Return what the target's retry policy makes of an outcome."""
        return apply_retry_policy(
            self.policy, attempt.number, attempt.takeovers, outcome, random.random
        )

    def _note_duration(self, seconds: float) -> None:
        # Failures do not count: a target that is down refuses faster than it ever worked.
        former = seconds if self.average_seconds is None else self.average_seconds
        self.average_seconds = 0.9 * former + 0.1 * seconds
