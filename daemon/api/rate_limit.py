"""Rate limits of API keys and of client addresses, counted in this process."""

from __future__ import annotations

import math
import time

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter


class RateLimiter:
    """One limit, such as ``100/second``, that applies to each caller separately.

    Each process counts on its own: with three nodes behind one address, a key has up to three
    times its limit. In return, a request needs no round trip to a shared counter, and no table is
    written for every request.
    """

    def __init__(self, limit: str) -> None:
        self._item = parse(limit)
        self._counts = SlidingWindowCounterRateLimiter(MemoryStorage())
        self.window_s = self._item.get_expiry()

    async def is_exhausted(self, caller: str) -> bool:
        """Return whether another request would exceed the limit; nothing is counted."""
        return not await self._counts.test(self._item, caller)

    async def count_request(self, caller: str) -> tuple[bool, dict[str, str]]:
        """Count one request; return whether it is within the limit, and the response headers."""
        is_within = await self._counts.hit(self._item, caller)
        stats = await self._counts.get_window_stats(self._item, caller)
        reset = max(1, math.ceil(stats.reset_time - time.time()))
        headers = {
            "RateLimit-Limit": str(self._item.amount),
            "RateLimit-Remaining": str(stats.remaining),
            "RateLimit-Reset": str(reset),
            "RateLimit-Policy": f"{self._item.amount};w={self.window_s}",
        }
        if not is_within:
            headers["RateLimit-Remaining"] = "0"
            headers["Retry-After"] = str(min(reset, self.window_s))
        return is_within, headers
