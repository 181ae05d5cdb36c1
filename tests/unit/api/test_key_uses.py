"""The use of a key is recorded once a minute; a failed record is tried again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.api.key_uses import KeyUses
from daemon.domain.api_keys import ApiKey, KeyStatus, Scope
from daemon.domain.errors import Unavailable

NOW = datetime(2026, 6, 1, tzinfo=UTC)


class Uses:
    """The store of the keys, and the events; the time is set by the test."""

    def __init__(self) -> None:
        self.recorded: list[tuple[int, str]] = []
        self.warned: list[dict[str, Any]] = []
        self.is_unavailable = False
        self.seconds = 1000.0
        self.of_keys = KeyUses(self, self.emit, lambda: self.seconds)  # type: ignore[arg-type]

    async def record_use(self, key_id: int, address: str) -> None:
        """Record a use, or fail."""
        if self.is_unavailable:
            raise Unavailable("unavailable")
        self.recorded.append((key_id, address))

    def emit(self, event: str, /, **fields: Any) -> None:
        """Take a warning."""
        self.warned.append({"event": event, **fields})

    async def use(self, key: ApiKey, *, after: float = 0.0, address: str = "a") -> None:
        """Use the key some seconds later, and wait until the use is recorded."""
        self.seconds += after
        self.of_keys.record(key, address)
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
def uses() -> Uses:
    return Uses()


def key_of(key_id: int, status: KeyStatus = KeyStatus.IN_FORCE) -> ApiKey:
    """Return a key that ends in three days."""
    ends = NOW + timedelta(days=3)
    return ApiKey(key_id, f"key {key_id}", Scope.READ, status, NOW, expires_at=ends)


async def test_a_use_is_recorded_once_a_minute_for_each_key(uses: Uses) -> None:
    for key_id in (1, 1, 2):
        await uses.use(key_of(key_id))
    await uses.use(key_of(1), after=59)
    assert uses.recorded == [(1, "a"), (2, "a")]
    await uses.use(key_of(1), after=1, address="b")
    assert uses.recorded[2:] == [(1, "b")]


async def test_the_next_use_is_recorded_when_the_database_failed(uses: Uses) -> None:
    uses.is_unavailable = True
    await uses.use(key_of(1))
    uses.is_unavailable = False
    await uses.use(key_of(1), after=1)
    assert uses.recorded == [(1, "a")]


async def test_a_key_that_expires_soon_is_reported_once_a_day(uses: Uses) -> None:
    await uses.use(key_of(1))
    assert uses.warned == []
    for after in (60, 60, 86_399 - 60, 60):
        await uses.use(key_of(1, KeyStatus.EXPIRING), after=after)
    warning = {
        "event": "api_key_expires_soon",
        "key": "key 1",
        "key_id": 1,
        "expires_at": "2026-06-04T00:00:00Z",
    }
    assert uses.warned == [warning, warning]
