"""The connection pool: one asynchronous engine for a libpq connection string."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any, Protocol
from weakref import WeakSet

import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from storage import binary_arrays
from storage.errors import StatementDenied, StorageError, StorageUnavailable, translate_errors
from storage.privilege_checks import explain_denial
from storage.queries import query
from storage.session import (
    BY_HAND,
    PREPARED_AFTER,
    Connection,
    Timeouts,
    connect_async,
    connection_string,
)


async def rows_of(
    connection: AsyncConnection, statement: sa.Executable, **values: Any
) -> list[Any]:
    """Execute a statement within the connection's transaction.

    Returns:
        Its rows as named tuples, one attribute for each column; none if it returns no rows.
    """
    result = await connection.execute(statement, values)
    if not result.returns_rows:
        return []
    # An attribute of SQLAlchemy's own row takes 20 times as long as that of a named tuple, which
    # doubled the time of a page of 100 campaigns.
    return [*map(_row_type(tuple(result.keys()))._make, result)]


@cache
def _row_type(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)


class Connections(Protocol):
    """A source of connections: a pool, or a transaction in progress."""

    def statement(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Return a connection for single statements."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Return a connection for statements that are committed together."""
        ...


class Database:
    """A pool of connections to one PostgreSQL database."""

    def __init__(
        self,
        dsn: str,
        *,
        pool_size: int = 5,
        application_name: str = "campaignd",
        pool_timeout: float = 10,
        overflow: int | None = None,
        prepare: bool = True,
        timeouts: Timeouts = BY_HAND,
    ) -> None:
        """Create the pool without connecting; the first use reports a wrong ``dsn``.

        Args:
            dsn: libpq connection string or URL.
            pool_size: connections that stay open.
            application_name: the name in ``pg_stat_activity``.
            pool_timeout: seconds to wait for a free connection.
            overflow: connections that may be opened in addition, each closed after its use;
                ``pool_size`` by default. Under a steady load, 0 is faster.
            prepare: whether to prepare statements on the server; False behind a pooler that gives
                each transaction another connection. The timeouts are then left to the role, because
                the pooler would give them to other programs too.
            timeouts: how long the server lets statements take.
        """
        self.conninfo = connection_string(dsn, application_name)
        self.prepares = prepare
        self._timeouts = timeouts if prepare else None
        self._open: WeakSet[Connection] = WeakSet()
        self._is_cut_off = False

        async def connect() -> Connection:
            connection = await self._connect()
            await connection.set_autocommit(False)
            return connection

        self.engine: AsyncEngine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=connect,
            pool_size=pool_size,
            max_overflow=pool_size if overflow is None else overflow,
            pool_timeout=pool_timeout,
            # A check-out sends no statement of its own: the first statement reports a lost
            # connection.
            pool_pre_ping=False,
            # Error messages do not contain the values of a statement, such as the hash of a key.
            hide_parameters=True,
        )
        self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    async def _connect(self) -> Connection:
        """Open a connection in autocommit mode. Raises StorageUnavailable and psycopg's errors."""
        if self._is_cut_off:
            raise StorageUnavailable("this process is stopping")
        connection = await connect_async(
            self.conninfo,
            Connection,
            prepare_after=PREPARED_AFTER if self.prepares else None,
            timeouts=self._timeouts,
        )
        binary_arrays.register(connection)
        self._open.add(connection)
        return connection

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection on which every statement is a transaction of its own."""
        try:
            with translate_errors():
                async with self._single.connect() as connection:
                    yield connection
        except StatementDenied as denied:
            raise await self._name_denied(denied) from denied

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction: committed at the end, rolled back on an error."""
        try:
            with translate_errors():
                async with self.engine.begin() as connection:
                    yield connection
        except StatementDenied as denied:
            raise await self._name_denied(denied) from denied

    @asynccontextmanager
    async def long_transaction(self) -> AsyncIterator[AsyncConnection]:
        """Like `transaction`, for statements that may take minutes on a big database."""
        async with self.transaction() as connection:
            await connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            yield connection

    async def _name_denied(self, denied: StatementDenied) -> StorageError:
        """Return the server's refusal with the role and the rights that it lacks."""
        with translate_errors():
            async with self._single.connect() as connection:
                return await connection.run_sync(explain_denial, denied)

    async def rows(self, statement: sa.Executable | str, **values: Any) -> list[Any]:
        """Execute one statement, or the one named in ``sql/``, in a transaction of its own.

        Returns:
            Its rows; see `rows_of`.
        """
        if isinstance(statement, str):
            statement = query(statement)
        async with self.statement() as connection:
            return await rows_of(connection, statement, **values)

    async def shows_its_name(self) -> bool:
        """Return whether the server shows the name of the sessions; a pooler may replace it."""
        name = str(conninfo_to_dict(self.conninfo)["application_name"])
        (shown,) = await self.rows(sa.text("SELECT current_setting('application_name') AS name"))
        return bool(shown.name.split(" ")[0] == name.split(" ")[0])

    @property
    def connections_in_use(self) -> int:
        """Number of connections in use."""
        return self._pool.checkedout()

    @property
    def connections_kept(self) -> int:
        """Number of connections that stay open after their first use."""
        return self._pool.size()

    @property
    def connections_limit(self) -> int:
        """Maximum number of connections."""
        return 2 * self._pool.size()

    @property
    def _pool(self) -> QueuePool:
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        return pool

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    def cut_off(self) -> None:
        """End every connection at once, also where the server is silent; no other is opened."""
        self._is_cut_off = True
        for connection in list(self._open):
            connection.cut_off()
