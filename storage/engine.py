"""The connection pool: one asynchronous engine, told a libpq connection string."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy.pool import QueuePool

from storage import binary_arrays
from storage.errors import translated
from storage.prepared import Prepared, carry_out
from storage.without_orm import AsyncConnection, AsyncEngine, create_async_engine

CONNECT_TIMEOUT_S = 5
PREPARED_AFTER = 5
"""How often a connection has done a statement before it has it prepared on the server."""
_OPTIONS = " ".join(
    f"-c {setting}"
    for setting in (
        "timezone=UTC",
        # Statements of a batch touch a few rows of big tables. A plan made while a table was small,
        # or not yet analysed, must not scan it when it has grown.
        "enable_seqscan=off",
        "jit=off",
        # A generic plan does not know how long the arrays of a batch are, and joins them by loops.
        "plan_cache_mode=force_custom_plan",
    )
)
_KEEPALIVE = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def connection_string(dsn: str, application_name: str) -> str:
    """``dsn`` with what every session needs: UTC, a name, and limits for a silent network.

    What the DSN says itself wins, so several hosts and ``target_session_attrs`` work as in libpq.
    """
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    needed: dict[str, str | int] = {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "options": _OPTIONS,
        **_KEEPALIVE,
    }
    return make_conninfo(
        dsn.replace("postgresql+psycopg://", "postgresql://", 1),
        **{key: value for key, value in needed.items() if key not in given},
    )


class Connections(Protocol):
    """Where connections come from: a pool, or a transaction that is under way."""

    def statement(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection for single statements."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection for statements that are committed together."""
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
    ) -> None:
        """Nothing is connected yet; a wrong ``dsn`` shows at the first use.

        Args:
            dsn: libpq connection string or URL.
            pool_size: connections kept; as many again may be opened under load.
            application_name: what ``pg_stat_activity`` shows.
            pool_timeout: seconds to wait for a free connection.
            overflow: how many more may be opened under load, each closed after its use; as many
                as ``pool_size`` if not given. Under a load that lasts, 0 is faster.
            prepare: whether statements are prepared on the server; not behind a pooler that gives
                each transaction another connection.
        """
        self.conninfo = connection_string(dsn, application_name)
        self.prepares = prepare
        threshold = PREPARED_AFTER if prepare else None

        async def connect() -> psycopg.AsyncConnection[object]:
            connection = await psycopg.AsyncConnection.connect(
                self.conninfo, prepare_threshold=threshold
            )
            binary_arrays.register(connection)
            return connection

        self.engine: AsyncEngine = create_async_engine(
            "postgresql+psycopg://",
            async_creator=connect,
            pool_size=pool_size,
            max_overflow=pool_size if overflow is None else overflow,
            pool_timeout=pool_timeout,
            # A broken connection is found at check-out, not in the middle of a claim.
            pool_pre_ping=False,
            # Values of a statement, such as the hash of a key, are in no message.
            hide_parameters=True,
        )
        self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which every statement is a transaction of its own."""
        with translated():
            async with self._single.connect() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection within one transaction: committed at the end, rolled back on an error."""
        with translated():
            async with self.engine.begin() as connection:
                yield connection

    async def rows(self, prepared: Prepared, **values: Any) -> list[Any]:
        """Every row of a statement that is carried out by itself; columns are attributes."""
        async with self.statement() as connection:
            return await carry_out(connection, prepared, **values)

    @property
    def connections_in_use(self) -> int:
        """Connections that somebody works with at this moment."""
        return self._pool.checkedout()

    @property
    def connections_kept(self) -> int:
        """Connections that stay open once they were needed."""
        return self._pool.size()

    @property
    def connections_limit(self) -> int:
        """The most connections there may be."""
        return 2 * self._pool.size()

    @property
    def _pool(self) -> QueuePool:
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        return pool

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
