"""Refused claims are logged now and then, and counted from the first one on."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.pipeline.refusals import LOG_EVERY_S, Refusals


class Clock:
    """A monotonic clock that the test sets."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logged() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def refusals(clock: Clock, logged: list[dict[str, Any]]) -> Refusals:
    return Refusals(clock, lambda _event, /, **fields: logged.append(fields))  # type: ignore[arg-type]


def test_a_claim_that_is_refused_every_second_is_logged_once_a_minute(
    refusals: Refusals, clock: Clock, logged: list[dict[str, Any]]
) -> None:
    for _ in range(180):
        refusals.add(1, ValueError("a bad row\n[SQL: WITH clock AS ...]"))
        clock.now += 1
    assert logged == [{"campaign_id": 1, "error": "ValueError: a bad row"}] * 3


def test_each_campaign_is_logged(refusals: Refusals, logged: list[dict[str, Any]]) -> None:
    for _ in range(2):
        for campaign in range(5):
            refusals.add(campaign, ValueError("bad"))
    assert [fields["campaign_id"] for fields in logged] == list(range(5))


def test_the_time_without_a_claim_is_known(refusals: Refusals, clock: Clock) -> None:
    assert refusals.seconds_refusing == 0
    for _ in range(12):
        refusals.add(1, ValueError("bad"))
        clock.now += 1
    assert refusals.seconds_refusing == 12
    refusals.end()
    assert refusals.seconds_refusing == 0


def test_a_refusal_that_does_not_return_is_forgotten(refusals: Refusals, clock: Clock) -> None:
    """Such as that of a campaign which was deleted."""
    refusals.add(1, ValueError("bad"))
    clock.now += LOG_EVERY_S + 1
    assert refusals.seconds_refusing == 0
    refusals.add(1, ValueError("bad"))
    clock.now += 1
    assert refusals.seconds_refusing == 1
