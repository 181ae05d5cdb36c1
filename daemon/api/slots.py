"""Bounds the requests in progress: all of them, and those of one caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from daemon.domain.errors import Unavailable

TIMEOUT_S = 1.0
"""Maximum seconds that a request waits for a slot before it is refused.

Clients that are refused without a delay retry without a delay, and their retries would take the
time that accepted requests need.
"""


class RequestSlots:
    """The slots of requests. One caller, a key or an address, may have a quarter of them.

    Args:
        total: the number of slots.
    """

    def __init__(self, total: int) -> None:
        self._slots = asyncio.Semaphore(total)
        self._share = max(1, total // 4)
        self._callers: dict[str, _CallerShare] = {}

    @asynccontextmanager
    async def hold_slot(self) -> AsyncIterator[None]:
        """Hold one slot. Raises Unavailable if none becomes free in time."""
        await _acquire_or_refuse(self._slots, "too many requests at once")
        try:
            yield
        finally:
            self._slots.release()

    @asynccontextmanager
    async def hold_share(self, caller: str) -> AsyncIterator[None]:
        """Hold one part of a caller's share, also while the body arrives. Raises Unavailable."""
        held = self._callers.setdefault(caller, _CallerShare(self._share))
        held.requests += 1
        try:
            await _acquire_or_refuse(held.free, "too many requests at once of one key or address")
            try:
                yield
            finally:
                held.free.release()
        finally:
            held.requests -= 1
            if not held.requests:
                del self._callers[caller]


class _CallerShare:
    def __init__(self, share: int) -> None:
        self.free = asyncio.Semaphore(share)
        self.requests = 0


async def _acquire_or_refuse(semaphore: asyncio.Semaphore, refusal: str) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await semaphore.acquire()
    except TimeoutError:
        raise Unavailable(refusal) from None
