"""When a circuit breaker opens, and what closes it."""

from __future__ import annotations

from typing import Any

from daemon.domain.run.retry import RetryPolicy
from daemon.domain.run.target_state import CircuitState
from daemon.pipeline.circuit_breaker import CircuitBreaker

POLICY = RetryPolicy(pause_after=3, first_pause=1.0, longest_pause=5.0)


class Breaker(CircuitBreaker):
    """A circuit breaker that records its pauses and its changes."""

    def __init__(self, policy: RetryPolicy = POLICY) -> None:
        self.pauses: list[float] = []
        self.events: list[str] = []
        self.changes = 0
        super().__init__("crm", policy, emit=self.emit, on_change=self.changed)

    def emit(self, event: str, /, **fields: Any) -> None:
        self.events.append(event)
        if event == "target_paused":
            self.pauses.append(fields["pause_s"])

    def changed(self) -> None:
        self.changes += 1

    def fail(self, count: int) -> None:
        for _ in range(count):
            self.failed("refused", was_probe=False)


async def test_consecutive_failures_open_it() -> None:
    """The third failure opens it; failures of attempts under way change nothing."""
    breaker = Breaker()
    breaker.fail(2)
    assert breaker.is_closed
    breaker.fail(3)
    assert breaker.pauses == [1.0]
    assert breaker.state is CircuitState.OPEN
    assert not breaker.may_start


async def test_an_attempt_that_did_not_start_opens_it_at_once() -> None:
    """Also a breaker that failures never open; other attempts under way change nothing."""
    breaker = Breaker(RetryPolicy(pause_after=0))
    for _ in range(3):
        breaker.not_started("Too many open files", was_probe=False)
    assert breaker.pauses == [1.0]
    assert not breaker.may_start
    breaker.half_open()
    breaker.not_started("Too many open files", was_probe=breaker.start())
    assert breaker.pauses == [1.0, 2.0]


async def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = Breaker()
    breaker.fail(2)
    breaker.succeeded()
    breaker.fail(2)
    assert breaker.is_closed
    assert breaker.events == []


async def test_probes_are_one_at_a_time_and_pauses_grow() -> None:
    """Each failed probe makes a longer pause, up to the longest."""
    breaker = Breaker()
    breaker.fail(3)
    for _ in range(5):
        breaker.half_open()
        assert breaker.may_start
        assert breaker.start(), "it is the probe"
        assert not breaker.may_start
        breaker.failed("refused", was_probe=True)
    assert breaker.pauses == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    breaker.half_open()
    breaker.start()
    breaker.succeeded()
    assert breaker.may_start
    assert breaker.events[-1] == "target_resumed"
    breaker.fail(3)
    assert breaker.pauses[-1] == 1.0


async def test_a_cancelled_probe_makes_way_for_another() -> None:
    breaker = Breaker()
    breaker.fail(3)
    breaker.half_open()
    breaker.start()
    breaker.half_open()
    assert breaker.may_start


async def test_a_late_success_of_an_earlier_attempt_closes_it() -> None:
    breaker = Breaker()
    breaker.fail(3)
    breaker.succeeded()
    assert breaker.is_closed
    assert breaker.changes == 1


async def test_it_never_opens_with_zero() -> None:
    breaker = Breaker(RetryPolicy(pause_after=0))
    breaker.fail(100)
    assert breaker.pauses == []


async def test_pauses_without_end_overflow_nothing() -> None:
    breaker = Breaker()
    breaker.fail(3)
    for _ in range(5000):
        breaker.failed("refused", was_probe=True)
    assert len(breaker.pauses) == 5001
