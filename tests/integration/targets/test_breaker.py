"""When a target pauses, and what ends it."""

from __future__ import annotations

from daemon.domain.run.retry import RetryPolicy
from daemon.pipeline.circuit_breaker import CircuitBreaker

POLICY = RetryPolicy(pause_after=3, first_pause=1.0, longest_pause=5.0)


def failing(breaker: CircuitBreaker, count: int) -> list[float | None]:
    return [breaker.failed(was_probe=False) for _ in range(count)]


def test_failures_in_a_row() -> None:
    """The third pauses; those under way already change nothing."""
    breaker = CircuitBreaker(POLICY)
    assert failing(breaker, 5) == [None, None, 1.0, None, None]
    assert breaker.paused
    assert not breaker.may_start


def test_a_success_between_them() -> None:
    """They count from the beginning."""
    breaker = CircuitBreaker(POLICY)
    failing(breaker, 2)
    assert not breaker.succeeded()
    assert failing(breaker, 2) == [None, None]


def test_probes() -> None:
    """One at a time; each that fails makes a longer pause, up to the longest."""
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
    """Also shows that the target is back."""
    breaker = CircuitBreaker(POLICY)
    failing(breaker, 3)
    assert breaker.succeeded()
    assert not breaker.paused


def test_never() -> None:
    """With 0 a target is never left alone."""
    breaker = CircuitBreaker(RetryPolicy(pause_after=0))
    assert failing(breaker, 100) == [None] * 100


def test_pauses_without_end() -> None:
    """A target that is down for ever overflows nothing."""
    breaker = CircuitBreaker(POLICY)
    failing(breaker, 3)
    for _ in range(5000):
        assert breaker.failed(was_probe=True)
