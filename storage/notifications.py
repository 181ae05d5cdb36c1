"""LISTEN: a connection of its own, outside the pool, that says which campaigns were edited."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import psycopg

from storage.campaign_editor import CHANNEL
from storage.engine import connection_string
from storage.errors import translated

BEAT_S = 10.0
"""After so long without news the connection is asked whether it still lives."""


class _Connection(psycopg.AsyncConnection[Any]):
    """Waits without looking up.

    psycopg wakes ten times a second for somebody who may have pressed Ctrl-C. The event loop hears
    of that by itself, and those looks were half of what an idle daemon cost.
    """

    async def wait(self, gen: Any, interval: float = BEAT_S, timeout: float | None = None) -> Any:
        return await super().wait(gen, interval, timeout)


class Notifications:
    """Notices of edits. A hint only: polling is the guarantee."""

    def __init__(self, dsn: str) -> None:
        self._conninfo = connection_string(dsn, "campaignd-listen")

    async def listen(self) -> AsyncIterator[list[int] | None]:
        """Campaign ids as they are edited; None when anything may have been missed.

        The first item is None, once the connection listens.

        Raises:
            StorageUnavailable: the connection is gone.
        """
        with translated():
            connection = await _Connection.connect(self._conninfo, autocommit=True)
            async with connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                yield None
                while True:
                    async for notice in connection.notifies(timeout=BEAT_S):
                        yield _campaigns(notice.payload)
                    await connection.execute("SELECT 1")


def _campaigns(payload: str) -> list[int] | None:
    """The ids in a notice; None, for everything, if it holds none that we can read."""
    try:
        ids = json.loads(payload)["campaigns"]
        return [int(each) for each in ids]
    except (ValueError, TypeError, KeyError):
        return None
