"""Simultaneous lookups of keys share one statement, which is never older than the request."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.domain.api_keys import digest_of
from daemon.domain.errors import Unavailable
from storage.api_keys import ApiKeys


class Table:
    """The valid keys; each statement waits until the test resumes it."""

    def __init__(self, *secrets: str) -> None:
        self.keys = list(secrets)
        self.statements: list[int] = []
        self.resume = asyncio.Semaphore(0)
        self.is_unavailable = False

    async def rows(self, _statement: object, digests: list[bytes]) -> list[Any]:
        """Return the keys that were valid when the statement was sent."""
        self.statements.append(len(digests))
        seen = [secret for secret in self.keys if digest_of(secret) in digests]
        await self.resume.acquire()
        if self.is_unavailable:
            raise Unavailable("unavailable")
        return [
            SimpleNamespace(
                id=number,
                name=secret,
                scope="read",
                status="in_force",
                created_at=datetime.now(UTC),
                expires_at=None,
                last_used_at=None,
                last_used_from=None,
                previous_until=None,
                revoked_at=None,
                digest=digest_of(secret),
                previous_digest=None,
            )
            for number, secret in enumerate(seen)
        ]


async def settle() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_simultaneous_lookups_are_one_statement() -> None:
    table = Table("a", "b")
    keys = ApiKeys(table)  # type: ignore[arg-type]
    lookups = [asyncio.create_task(keys.find(secret)) for secret in ("a", "b", "a", "c")]
    await settle()
    table.resume.release()
    found = [key.name if key else None for key in await asyncio.gather(*lookups)]
    assert found == ["a", "b", "a", None]
    assert table.statements == [3]


async def test_a_key_revoked_before_the_lookup_is_not_found() -> None:
    """A statement of another request that still sees the key may be in flight."""
    table = Table("a")
    keys = ApiKeys(table)  # type: ignore[arg-type]
    before = asyncio.create_task(keys.find("a"))
    await settle()
    table.keys.remove("a")
    after = asyncio.create_task(keys.find("a"))
    await settle()
    table.resume.release()
    table.resume.release()
    assert await before is not None
    assert await after is None
    assert table.statements == [1, 1]


async def test_a_cancelled_lookup_does_not_cancel_others() -> None:
    table = Table("a")
    keys = ApiKeys(table)  # type: ignore[arg-type]
    first, second = (asyncio.create_task(keys.find("a")) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    table.resume.release()
    assert (await second) is not None


async def test_a_failure_is_raised_in_all_lookups_and_the_next_one_works() -> None:
    table = Table("a")
    keys = ApiKeys(table)  # type: ignore[arg-type]
    table.is_unavailable = True
    lookups = [asyncio.create_task(keys.find("a")) for _ in range(3)]
    await settle()
    table.resume.release()
    for each in lookups:
        with pytest.raises(Unavailable):
            await each
    table.is_unavailable = False
    table.resume.release()
    assert await keys.find("a") is not None
