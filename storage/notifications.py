"""LISTEN on a connection outside the pool, which reports the campaigns that were edited."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import sqlalchemy as sa

from storage.engine import Database
from storage.errors import translate_errors
from storage.notice import CHANNEL
from storage.session import Connection, connect_async, connection_string

CHECK_S = 10.0
"""Seconds without a notification after which the connection is checked."""
ARRIVAL_TRIES = 3
ARRIVAL_S = 1.0
"""Seconds to wait for a notification, which usually arrives within a millisecond."""


class _WaitingConnection(Connection):
    """A connection that waits without waking up.

    psycopg wakes ten times a second to notice Ctrl-C. The event loop handles signals itself, and
    these wake-ups were half of the processor time of an idle daemon.
    """

    async def wait(self, gen: Any, interval: float = CHECK_S, timeout: float | None = None) -> Any:
        return await super().wait(gen, interval, timeout)


class Notifications:
    """Notifications of edits. They are hints only: polling is the guarantee."""

    def __init__(self, dsn: str) -> None:
        self._conninfo = connection_string(dsn, "campaignd-listen")

    async def receives_from(self, database: Database) -> bool:
        """Return whether notifications of ``database`` arrive here.

        They do not where this is another database, or a pooler that shares connections.

        Raises:
            StorageUnavailable: one of the two cannot be reached.
        """
        channel = f"campaignd_check_{secrets.token_hex(8)}"
        with translate_errors():
            connection = await connect_async(self._conninfo, _WaitingConnection)
            async with connection:
                await connection.execute(f"LISTEN {channel}")
                for _ in range(ARRIVAL_TRIES):
                    await database.rows(sa.select(sa.func.pg_notify(channel, "")))
                    async for _ in connection.notifies(timeout=ARRIVAL_S, stop_after=1):
                        return True
        return False

    async def listen(self) -> AsyncIterator[list[int] | None]:
        """Yield the ids of edited campaigns; None when any notification may have been missed.

        The first item is None, as soon as the connection listens.

        Raises:
            StorageUnavailable: the connection is lost.
        """
        with translate_errors():
            connection = await connect_async(self._conninfo, _WaitingConnection)
            async with connection:
                await connection.execute(f"LISTEN {CHANNEL}")
                yield None
                while True:
                    async for notice in connection.notifies(timeout=CHECK_S):
                        yield _campaign_ids_of(notice.payload)
                    await connection.execute("SELECT 1")


def _campaign_ids_of(payload: str) -> list[int] | None:
    """Return the ids of a notification; None, for all campaigns, if it is not readable."""
    try:
        ids = json.loads(payload)["campaigns"]
        return [int(each) for each in ids]
    except (ValueError, TypeError, KeyError):
        return None
