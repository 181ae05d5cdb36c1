"""Live pages: one stream of server-sent events for each open page, and one watcher for all.

The watcher listens for edits and reads the counters of the cluster, as long as a stream is open. A
stream carries no data: it says that something has changed, and the page reads its parts again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from daemon.api.console.viewer import Reader
from daemon.domain.errors import CampaigndError, Unavailable
from daemon.domain.read_models import Overview

router = APIRouter(include_in_schema=False)

PATH = "/stream"
MOST = 100
"""Maximum open streams of a node; further pages read again every 15 s."""
PING_S = 15
POLL_S = 5.0
"""Seconds between two readings of the counters."""
RETRY_S = 5.0
"""Seconds until the watcher listens again after a lost connection."""


class LiveFeed:
    """The open streams of this process.

    Args:
        edits: listens for edits of campaigns, on a connection of its own.
        overview: reads the counters.
    """

    def __init__(
        self,
        edits: Callable[[], AsyncIterator[object]],
        overview: Callable[[], Awaitable[Overview]],
    ) -> None:
        self._edits = edits
        self._overview = overview
        self._open: set[asyncio.Event] = set()
        self._watchers: list[asyncio.Task[None]] = []
        self._is_closed = False

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Yield an event after each change, until the feed is closed."""
        changed = asyncio.Event()
        self._open.add(changed)
        self._start_watching()
        try:
            while not self._is_closed:
                await changed.wait()
                changed.clear()
                if not self._is_closed:
                    yield ServerSentEvent(event="change", data="")
        finally:
            self._open.discard(changed)
            if not self._open:
                self._stop_watching()

    @property
    def is_full(self) -> bool:
        """Whether no further stream may be opened."""
        return self._is_closed or len(self._open) >= MOST

    def close(self) -> None:
        """End every stream; the server drains."""
        self._is_closed = True
        self._stop_watching()
        self._tell()

    def _tell(self) -> None:
        for changed in self._open:
            changed.set()

    def _start_watching(self) -> None:
        if not self._watchers and not self._is_closed:
            self._watchers = [
                asyncio.create_task(self._watch_edits(), name="watch edits"),
                asyncio.create_task(self._watch_counters(), name="watch counters"),
            ]

    def _stop_watching(self) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        self._watchers = []

    async def _watch_edits(self) -> None:
        while True:
            with contextlib.suppress(CampaigndError):  # the counters are read meanwhile
                async for _ in self._edits():
                    self._tell()
            await asyncio.sleep(RETRY_S)

    async def _watch_counters(self) -> None:
        last: tuple[object, ...] | None = None
        while True:
            with contextlib.suppress(CampaigndError):  # the database is away
                found = _counters(await self._overview())
                if last is not None and found != last:
                    self._tell()
                last = found
            await asyncio.sleep(POLL_S)


@router.get(PATH)
async def stream(request: Request, viewer: Reader) -> Response:
    """Stream an event after each change."""
    feed = live_feed_of(request)
    if feed.is_full:
        raise Unavailable("too many pages are open; this one reads again from time to time")
    return EventSourceResponse(feed.events(), ping=PING_S)


def live_feed_of(request: Request) -> LiveFeed:
    """Return the application's feed."""
    feed = request.app.state.live_feed
    assert isinstance(feed, LiveFeed)
    return feed


def _counters(found: Overview) -> tuple[object, ...]:
    return (
        *(found.executing, found.retrying, found.queued, found.overdue, found.backlog),
        found.next_event_at,
        tuple((node.id, node.live, node.draining) for node in found.nodes),
    )
