"""An outage is logged once when it starts and once when it ends, whichever service notices it."""

from __future__ import annotations

from typing import Any

from daemon.domain.errors import Unavailable
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service
from storage.errors import TransactionAborted
from tests.support.clocks import SettableClock


class Part(Service):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    async def run(self) -> None:
        """Do nothing: only the name counts."""


def health_and_events() -> tuple[DatabaseHealth, list[str]]:
    events: list[str] = []

    def emit(event: str, **_fields: Any) -> None:
        events.append(event)

    return DatabaseHealth(emit, SettableClock(), jitter=lambda: -1.0), events


async def test_a_service_that_succeeds_does_not_end_an_outage() -> None:
    """The writer fails again and again while the reader succeeds: one outage."""
    health, events = health_and_events()
    recovered: list[str] = []
    health.on_recovery.append(lambda: recovered.append("yes"))
    reader, writer = Part("reader"), Part("writer")
    for _ in range(3):
        await health.failed(writer, Unavailable("read-only"))
        health.succeeded(reader)
        assert not health.is_up
    health.succeeded(writer)
    assert health.is_up
    health.succeeded(reader)
    assert events == ["database_lost", "database_back"]
    assert recovered == ["yes"]


async def test_a_deadlock_is_no_outage() -> None:
    """It is logged as such, once in a row, and the service tries again."""
    health, events = health_and_events()
    part = Part("claimer")
    for _ in range(2):
        await health.failed(part, TransactionAborted("deadlock detected"))
        assert health.is_up
    health.succeeded(part)
    await health.failed(part, TransactionAborted("could not serialize access"))
    assert events == ["transaction_aborted"] * 2


async def test_a_conflict_that_does_not_end_is_an_outage() -> None:
    """A lock on a table is one: the service can do nothing until it is released."""
    health, events = health_and_events()
    part = Part("claimer")
    for _ in range(4):
        await health.failed(part, TransactionAborted("canceling statement due to lock timeout"))
    assert not health.is_up
    health.succeeded(part)
    assert events == ["transaction_aborted", "database_lost", "database_back"]


async def test_all_that_failed_must_succeed() -> None:
    health, events = health_and_events()
    parts = [Part("one"), Part("two")]
    for part in parts:
        await health.failed(part, Unavailable("away"))
    health.succeeded(parts[1])
    assert events == ["database_lost"]
    health.succeeded(parts[0])
    assert events == ["database_lost", "database_back"]


async def test_a_statement_from_before_the_failure_does_not_end_the_outage() -> None:
    """Two batches are under way when the server dies: one fails, the other was answered."""
    events: list[str] = []
    clock = SettableClock()
    health = DatabaseHealth(
        lambda event, /, **_fields: events.append(event), clock, jitter=lambda: -1.0
    )
    finish = Part("finish")
    clock.seconds = 5
    await health.failed(finish, Unavailable("away"))
    health.succeeded(finish, since=4)
    assert not health.is_up
    clock.seconds = 6
    health.succeeded(finish, since=5.5)
    assert health.is_up
    assert events == ["database_lost", "database_back"]
