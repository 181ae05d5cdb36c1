"""The circuit breaker: failures that open it, and successes that close it."""

from __future__ import annotations

from daemon.domain.run.retry import RetryPolicy
from daemon.pipeline.circuit_breaker import CircuitBreaker

POLICY = RetryPolicy(pause_after=3, first_pause=1.0, longest_pause=5.0)


def failing(breaker: CircuitBreaker, count: int) -> list[float | None]:
    return [breaker.failed(was_probe=False) for _ in range(count)]


def test_failures_in_a_row() -> None:
    """The third failure opens the breaker; later ones in flight change nothing."""
    breaker = CircuitBreaker(POLICY)
    assert failing(breaker, 5) == [None, None, 1.0, None, None]
    assert breaker.paused
    assert not breaker.may_start


def test_a_success_between_them() -> None:
    """A success resets the count."""
    breaker = CircuitBreaker(POLICY)
    failing(breaker, 2)
    assert not breaker.succeeded()
    assert failing(breaker, 2) == [None, None]


def test_probes() -> None:
    """Probes run one at a time; each failure lengthens the pause, up to the maximum."""
    breaker = CircuitBreaker(POLICY)
    failing(breaker, 3)
    pauses = []
    for _ in range(5):
        breaker.pause_is_over()
        assert breaker.may_start
        breaker.begin()
        assert not breaker.may_start
        pauses.append(breaker.failed(was_probe=True))
    assert pauses == [2.0, 4.0, 5.0, 5.0, 5.0]
    breaker.pause_is_over()
    breaker.begin()
    assert breaker.succeeded()
    assert breaker.may_start
    assert failing(breaker, 3) == [None, None, 1.0]


def test_a_late_success_of_an_attempt_begun_before() -> None:
    """It closes the breaker too."""
    breaker = CircuitBreaker(POLICY)
    failing(breaker, 3)
    assert breaker.succeeded()
    assert not breaker.paused


def test_never() -> None:
    """With 0 the breaker never opens."""
    breaker = CircuitBreaker(RetryPolicy(pause_after=0))
    assert failing(breaker, 100) == [None] * 100


def test_pauses_without_end() -> None:
    """Pauses of a target that never recovers do not overflow."""
    breaker = CircuitBreaker(POLICY)
    failing(breaker, 3)
    for _ in range(5000):
        assert breaker.failed(was_probe=True)
