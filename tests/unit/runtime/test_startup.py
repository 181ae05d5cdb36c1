"""A start that waits for its database can be stopped at any moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daemon.domain.errors import Unavailable
from daemon.runtime.startup import wait_for_database

PATIENCE_S = 60


def emit(_event: str, /, **_fields: Any) -> None:
    pass


async def test_a_stop_ends_what_it_begins() -> None:
    """However long that would take."""
    stop, begun, ended = (asyncio.Event() for _ in range(3))

    async def begin() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asyncio.timeout(PATIENCE_S):
        starting = asyncio.create_task(wait_for_database(begin, timeout=600, stop=stop, emit=emit))
        await begun.wait()
        stop.set()
        assert await starting is False
        assert ended.is_set(), "nothing of it goes on"


async def test_begun_again_until_it_succeeds() -> None:
    tries = 0

    async def begin() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("not yet")

    async with asyncio.timeout(PATIENCE_S):
        assert await wait_for_database(begin, timeout=600, stop=asyncio.Event(), emit=emit)
    assert tries == 3


async def test_other_faults_are_no_reason_to_wait() -> None:
    async def begin() -> None:
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        await wait_for_database(begin, timeout=600, stop=asyncio.Event(), emit=emit)


async def test_what_does_not_pass_by_itself_is_not_waited_for() -> None:
    """Such as a privilege that the database's role lacks."""

    class Missing(Unavailable):
        retryable = False

    async def begin() -> None:
        raise Missing("no INSERT")

    with pytest.raises(Missing, match=r"^no INSERT$"):
        await wait_for_database(begin, timeout=600, stop=asyncio.Event(), emit=emit)
