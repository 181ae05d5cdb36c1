"""The daemon's database: named statements run on psycopg connections of their own.

SQLAlchemy's pool, transaction and result take longer than most of these statements do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row

from storage.engine import Database
from storage.errors import StatementDenied, StorageUnavailable, translate_errors
from storage.queries import driver_text
from storage.session import Connection, Timeouts


class FiringDatabase(Database):
    """A pool of SQLAlchemy's, and beside it as many connections of psycopg for named statements.

    Args:
        dsn: libpq connection string or URL.
        pool_size: maximum connections of either kind. Those of psycopg stay open.
        application_name, pool_timeout, prepare, timeouts: see `Database`.
    """

    def __init__(
        self,
        dsn: str,
        *,
        timeouts: Timeouts,
        pool_size: int = 5,
        application_name: str = "campaignd",
        pool_timeout: float = 10,
        prepare: bool = True,
    ) -> None:
        super().__init__(
            dsn,
            pool_size=1,
            overflow=pool_size - 1,
            application_name=application_name,
            pool_timeout=pool_timeout,
            prepare=prepare,
            timeouts=timeouts,
        )
        self._size = pool_size
        self._timeout = pool_timeout
        self._in_use = 0
        self._free = asyncio.Semaphore(pool_size)
        self._idle: list[Connection] = []

    @asynccontextmanager
    async def driver(self) -> AsyncIterator[Connection]:
        """Yield a connection of psycopg on which every statement is a transaction of its own.

        Raises:
            StorageUnavailable: the server is away, or no connection is free in time.
        """
        with translate_errors():
            await self._wait_for_slot()
            connection = None
            try:
                connection = self._idle.pop() if self._idle else await self._connect()
                yield connection
            finally:
                self._in_use -= 1
                self._free.release()
                if connection is not None:
                    await self._give_back(connection)

    async def rows(self, statement: sa.Executable | str, **values: Any) -> list[Any]:
        """Execute one statement, or the one named in ``sql/``, in a transaction of its own.

        Returns:
            Its rows as named tuples; none if it returns no rows.
        """
        if not isinstance(statement, str):
            return await super().rows(statement, **values)
        try:
            async with self.driver() as connection:
                cursor = connection.cursor(binary=True, row_factory=namedtuple_row)
                await cursor.execute(driver_text(statement), values)
                return await cursor.fetchall() if cursor.description else []
        except StatementDenied as denied:
            raise await self._name_denied(denied) from denied

    async def _wait_for_slot(self) -> None:
        if self._free.locked():
            try:
                async with asyncio.timeout(self._timeout):
                    await self._free.acquire()
            except TimeoutError as error:
                raise StorageUnavailable("no free connection in the pool") from error
        else:
            await self._free.acquire()
        self._in_use += 1

    async def _give_back(self, connection: Connection) -> None:
        if connection.closed:
            # The server that ended this connection has probably ended the others, too.
            await self._close_idle()
        elif connection.info.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:  # its statement was cancelled
            await connection.close()

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    @property
    def connections_in_use(self) -> int:
        """Number of connections in use."""
        return super().connections_in_use + self._in_use

    @property
    def connections_kept(self) -> int:
        """Number of psycopg's connections, which stay open after their first use."""
        return self._size

    @property
    def connections_limit(self) -> int:
        """Maximum number of connections."""
        return 2 * self._size

    async def close(self) -> None:
        """Close every connection."""
        await self._close_idle()
        await super().close()
