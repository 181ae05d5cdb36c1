"""An outage is said once and said to be over once, whoever of several notices it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from daemon.domain.errors import Unavailable
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service


class Clock:
    seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 6, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds


class Part(Service):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    async def run(self) -> None:
        """Nothing: only its name counts."""


def link_and_told() -> tuple[DatabaseHealth, list[str]]:
    told: list[str] = []

    def emit(event: str, **_fields: Any) -> None:
        told.append(event)

    return DatabaseHealth(emit, Clock(), jitter=lambda: -1.0), told


async def test_who_can_still_read_does_not_end_an_outage() -> None:
    """The writer fails again and again while the reader succeeds: one outage."""
    link, told = link_and_told()
    recovered: list[str] = []
    link.on_recovery.append(lambda: recovered.append("yes"))
    reader, writer = Part("reader"), Part("writer")
    for _ in range(3):
        await link.failed(writer, Unavailable("read-only"))
        link.ok(reader)
        assert not link.is_up
    link.ok(writer)
    assert link.is_up
    link.ok(reader)
    assert told == ["database_lost", "database_back"]
    assert recovered == ["yes"]


async def test_all_that_failed_must_succeed() -> None:
    link, told = link_and_told()
    parts = [Part("one"), Part("two")]
    for part in parts:
        await link.failed(part, Unavailable("away"))
    link.ok(parts[1])
    assert told == ["database_lost"]
    link.ok(parts[0])
    assert told == ["database_lost", "database_back"]


async def test_what_began_before_the_failure_does_not_end_the_outage() -> None:
    """Two batches are under way when the server goes: one fails, the other's answer was there."""
    told: list[str] = []
    clock = Clock()
    link = DatabaseHealth(
        lambda event, /, **_fields: told.append(event), clock, jitter=lambda: -1.0
    )
    finish = Part("finish")
    clock.seconds = 5
    await link.failed(finish, Unavailable("away"))
    link.ok(finish, since=4)
    assert not link.is_up
    clock.seconds = 6
    link.ok(finish, since=5.5)
    assert link.is_up
    assert told == ["database_lost", "database_back"]
