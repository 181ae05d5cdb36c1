"""Records when and from where each API key was used, and warns of keys that expire soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from daemon.api.ports import ApiKeyStore
from daemon.domain.api_keys import ApiKey, KeyStatus
from daemon.domain.errors import CampaigndError
from daemon.domain.formatting import utc_text
from daemon.domain.ports import Emit

_RECORD_EVERY_S = 60.0
"""Seconds between two recorded uses of a key."""
_WARN_EVERY_S = 86_400.0
"""Seconds between two warnings that a key expires soon."""


class KeyUses:
    """The uses of keys in this process.

    Args:
        keys: the store of the keys.
        emit: receives the warnings.
        monotonic: the clock, in seconds.
    """

    def __init__(
        self, keys: ApiKeyStore, emit: Emit, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = keys
        self._emit = emit
        self._monotonic = monotonic
        self._recorded: dict[int, float] = {}
        self._warned: dict[int, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def record(self, key: ApiKey, address: str) -> None:
        """Record a key's use in the background, at most once a minute."""
        if not self._begin_interval_if_over(self._recorded, key.id, _RECORD_EVERY_S):
            return
        if key.status is KeyStatus.EXPIRING and key.expires_at is not None:
            self._warn_of_expiry(key, utc_text(key.expires_at))
        task = asyncio.create_task(self._write_use(key.id, address), name="record a key's use")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _warn_of_expiry(self, key: ApiKey, expires_at: str) -> None:
        if self._begin_interval_if_over(self._warned, key.id, _WARN_EVERY_S):
            self._emit("api_key_expires_soon", key=key.name, key_id=key.id, expires_at=expires_at)

    async def _write_use(self, key_id: int, address: str) -> None:
        try:
            await self._keys.record_use(key_id, address)
        except CampaigndError:
            self._recorded.pop(key_id, None)  # the next request tries again

    def _begin_interval_if_over(self, last: dict[int, float], key_id: int, every: float) -> bool:
        """Return whether that many seconds have passed; if so, they begin again."""
        now = self._monotonic()
        if key_id in last and now - last[key_id] < every:
            return False
        last[key_id] = now
        return True
