"""Keys of requests that come together are looked up together, and never by an older statement."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.domain.api_keys import digest_of
from daemon.domain.errors import Unavailable
from storage.api_keys import ApiKeys
from storage.prepared import Prepared


class Table:
    """The keys in force; each look at them waits until it is let go on."""

    def __init__(self, *secrets: str) -> None:
        self.keys = list(secrets)
        self.looks: list[int] = []
        self.resume = asyncio.Semaphore(0)
        self.is_away = False

    async def rows(self, _prepared: Prepared, digests: list[bytes]) -> list[Any]:
        """What a statement sees is what was there when it was sent."""
        self.looks.append(len(digests))
        seen = [secret for secret in self.keys if digest_of(secret) in digests]
        await self.resume.acquire()
        if self.is_away:
            raise Unavailable("away")
        return [
            SimpleNamespace(
                id=number,
                name=secret,
                scope="read",
                created_at=datetime.now(UTC),
                last_used_at=None,
                revoked_at=None,
                digest=digest_of(secret),
            )
            for number, secret in enumerate(seen)
        ]


async def turns() -> None:
    """Let everything that can go on go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_comes_together_is_one_statement() -> None:
    table = Table("a", "b")
    keys = ApiKeys(table)  # type: ignore[arg-type]
    asked = [asyncio.create_task(keys.find(secret)) for secret in ("a", "b", "a", "c")]
    await turns()
    table.resume.release()
    found = [key.name if key else None for key in await asyncio.gather(*asked)]
    assert found == ["a", "b", "a", None]
    assert table.looks == [3]


async def test_a_key_revoked_before_it_was_asked_for_is_not_found() -> None:
    """Although a statement that still sees it is under way for another request."""
    table = Table("a")
    keys = ApiKeys(table)  # type: ignore[arg-type]
    before = asyncio.create_task(keys.find("a"))
    await turns()
    table.keys.remove("a")
    after = asyncio.create_task(keys.find("a"))
    await turns()
    table.resume.release()
    table.resume.release()
    assert await before is not None
    assert await after is None
    assert table.looks == [1, 1]


async def test_who_gives_up_takes_nobody_along() -> None:
    table = Table("a")
    keys = ApiKeys(table)  # type: ignore[arg-type]
    first, second = (asyncio.create_task(keys.find("a")) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    table.resume.release()
    assert (await second) is not None


async def test_a_failure_is_told_to_all_and_the_next_try_works() -> None:
    table = Table("a")
    keys = ApiKeys(table)  # type: ignore[arg-type]
    table.is_away = True
    asked = [asyncio.create_task(keys.find("a")) for _ in range(3)]
    await turns()
    table.resume.release()
    for each in asked:
        with pytest.raises(Unavailable):
            await each
    table.is_away = False
    table.resume.release()
    assert await keys.find("a") is not None
