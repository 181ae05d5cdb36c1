"""The retry policy: exponential backoff with full jitter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from daemon.domain.run.outcome import Held, Outcome, OutcomeUnknown, Reject, Retry


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a run is attempted, and how long the waits in between are, in seconds.

    With ``holds``, an attempt with an unknown outcome is not repeated; its run is held for an
    operator. After ``pause_after`` consecutive failures (0: never) the circuit breaker of the
    target opens, first for ``first_pause``, then twice as long each time, up to ``longest_pause``.
    """

    max_attempts: int = 3
    first: float = 1.0
    factor: float = 2.0
    longest: float = 300.0
    holds: bool = False
    pause_after: int = 5
    first_pause: float = 1.0
    longest_pause: float = 30.0

    def gives_up(self, attempt: int, takeovers: int = 0) -> bool:
        """Return whether ``attempt`` (from 1) was the last; lost nodes do not count."""
        return attempt - takeovers >= self.max_attempts

    def ceiling(self, attempt: int) -> float:
        """Return the maximum wait after ``attempt``, in seconds."""
        # The exponent is bounded so that a huge attempt number cannot overflow.
        return min(self.longest, self.first * self.factor ** min(attempt - 1, 64))

    def wait(self, attempt: int, random: Callable[[], float]) -> float:
        """Return the wait in seconds, in [0, ceiling); ``random`` is in [0, 1)."""
        return self.ceiling(attempt) * random()


def apply_retry_policy(
    policy: RetryPolicy,
    attempt: int,
    takeovers: int,
    outcome: Outcome,
    random: Callable[[], float],
) -> Outcome:
    """Return the outcome to write: a retry gets its wait, or fails after the last attempt.

    An unknown outcome is a retry, unless the policy holds the run.
    """
    if isinstance(outcome, OutcomeUnknown):
        if policy.holds:
            return Held(outcome.reason)
    elif not isinstance(outcome, Retry):
        return outcome
    if policy.gives_up(attempt, takeovers):
        return Reject(f"{outcome.reason} (attempt {attempt}, the last)")
    return Retry(outcome.reason, max(outcome.after, policy.wait(attempt, random)))
