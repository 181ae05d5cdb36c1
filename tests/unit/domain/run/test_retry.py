"""Backoff: bounded, growing, anywhere below its ceiling."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.domain.run.retry import RetryPolicy

POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    first=st.floats(0.001, 100),
    factor=st.floats(1, 10),
    longest=st.floats(0.001, 10_000),
)
ATTEMPTS = st.integers(1, 32_767)


@given(POLICIES, ATTEMPTS, st.floats(0, 1, exclude_max=True))
def test_a_wait_lies_below_its_ceiling(policy: RetryPolicy, attempt: int, chance: float) -> None:
    wait = policy.wait(attempt, lambda: chance)
    assert 0 <= wait <= policy.ceiling(attempt) <= policy.longest
    assert policy.wait(attempt, lambda: 0.0) == 0


@given(POLICIES, ATTEMPTS)
def test_ceilings_never_fall(policy: RetryPolicy, attempt: int) -> None:
    assert policy.ceiling(attempt) <= policy.ceiling(attempt + 1)


def test_ceilings_double() -> None:
    policy = RetryPolicy(first=1, factor=2, longest=300)
    assert [policy.ceiling(attempt) for attempt in (1, 2, 3, 4, 9, 10, 32_767)] == [
        *(1, 2, 4, 8, 256),
        *(300, 300),
    ]


@given(POLICIES, ATTEMPTS, st.integers(0, 10))
def test_lost_nodes_do_not_count(policy: RetryPolicy, attempt: int, takeovers: int) -> None:
    gives_up = policy.gives_up(attempt, 0)
    assert policy.gives_up(attempt + takeovers, takeovers) == gives_up
    assert gives_up == (attempt >= policy.max_attempts)
