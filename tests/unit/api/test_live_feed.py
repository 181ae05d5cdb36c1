"""The streams of live pages: their limit, their end, and the watcher that they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from daemon.api.console.live import MOST, LiveFeed
from daemon.domain.errors import Unavailable
from daemon.domain.read_models import Overview

PATIENCE_S = 20


class Edits:
    """Edits that a test makes."""

    def __init__(self) -> None:
        self.made: asyncio.Queue[None] = asyncio.Queue()
        self.listening = 0
        self.ended = asyncio.Event()

    async def listen(self) -> AsyncIterator[object]:
        """Yield after each edit."""
        self.listening += 1
        try:
            while True:
                yield await self.made.get()
        finally:
            self.listening -= 1
            self.ended.set()


async def no_overview() -> Overview:
    """Fail as if the database was away."""
    raise Unavailable("away")


@pytest.mark.timeout(PATIENCE_S)
async def test_every_stream_hears_of_an_edit_over_one_connection() -> None:
    edits = Edits()
    feed = LiveFeed(edits.listen, no_overview)
    streams = [feed.events() for _ in range(3)]
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await asyncio.sleep(0)
    await edits.made.put(None)
    assert [event.event for event in await asyncio.gather(*waiting)] == ["change"] * 3
    assert edits.listening == 1
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]
    await edits.ended.wait()
    assert edits.listening == 0


@pytest.mark.timeout(PATIENCE_S)
async def test_streams_end_when_the_server_drains() -> None:
    feed = LiveFeed(Edits().listen, no_overview)

    async def read() -> int:
        return len([event async for event in feed.events()])

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    feed.close()
    assert await reading == 0
    assert feed.is_full


@pytest.mark.timeout(PATIENCE_S)
async def test_a_node_has_a_limited_number_of_streams() -> None:
    feed = LiveFeed(Edits().listen, no_overview)
    waiting = [asyncio.ensure_future(anext(feed.events())) for _ in range(MOST - 1)]
    await asyncio.sleep(0)
    assert not feed.is_full
    waiting.append(asyncio.ensure_future(anext(feed.events())))
    await asyncio.sleep(0)
    assert feed.is_full
    feed.close()
    await asyncio.gather(*waiting, return_exceptions=True)
