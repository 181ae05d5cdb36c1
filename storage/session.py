"""How every database session begins: its name, its network timeouts and its settings."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from storage.errors import UnsuitableDatabase

CONNECT_TIMEOUT_S = 5
CANCEL_S = 1.0
"""Seconds in which a server answers the cancellation of a statement."""
PREPARED_AFTER = 5
"""Number of executions after which a connection prepares a statement on the server."""

SETTINGS = {
    # The values that psycopg parses, and those that SQL casts to text.
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
    # A statement that waited for a lock continues on the row as it is by then.
    "default_transaction_isolation": "read committed",
    # Statements of a batch read a few rows of big tables. A plan from the time when a table was
    # small, or not analysed, must not scan the grown table.
    "enable_seqscan": "off",
    "jit": "off",
    # For the same reason no statement is worth the start of worker processes.
    "max_parallel_workers_per_gather": "0",
    # A generic plan does not know the length of a batch's arrays, and joins them by loops.
    "plan_cache_mode": "force_custom_plan",
}
"""The settings of every session, whatever the server, the role, the URL and PG* variables set.

They are set by a statement, not by the start-up packet: some poolers refuse ``options`` there, and
those of the URL stay in force beside them.
"""


class Connection(psycopg.AsyncConnection[Any]):
    """A connection that ends itself when the server does not answer a cancellation.

    psycopg would wait for ten seconds, and with it everything that stops.
    """

    async def cancel_safe(self, *, timeout: float = CANCEL_S) -> None:
        """Cancel the statement in progress."""
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_S))
        except psycopg.errors.CancellationTimeout:
            self.pgconn.finish()

    def cut_off(self) -> None:
        """End the connection at once; the statement in progress fails without the server."""
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.fileno())) as shared,
        ):
            shared.shutdown(socket.SHUT_RDWR)


class Timeouts(NamedTuple):
    """How long the server lets the statements of a session take, as PostgreSQL writes durations."""

    lock: str
    """For one lock."""
    statement: str
    idle_in_transaction: str

    def settings(self) -> dict[str, str]:
        """Return the settings of PostgreSQL."""
        return {
            "lock_timeout": self.lock,
            "statement_timeout": self.statement,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
        }


FIRING = Timeouts(lock="2s", statement="60s", idle_in_transaction="30s")
"""Statements of the firing path wait for no row; the lock of a migration may keep a table."""
SERVING = Timeouts(lock="5s", statement="30s", idle_in_transaction="30s")
"""A client waits for the response."""
BY_HAND = Timeouts(lock="30s", statement="0", idle_in_transaction="5min")
"""An import or a deletion of history may take long, but waits for no forgotten transaction."""
UNLIMITED = Timeouts(lock="0", statement="0", idle_in_transaction="0")
"""LISTEN is idle by nature. A migration sets its own."""

_KEEPALIVE = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

ConnectionT = TypeVar("ConnectionT", bound=psycopg.AsyncConnection[Any])


def connection_string(dsn: str, application_name: str) -> str:
    """Return ``dsn`` with the name of the session and network timeouts.

    Timeouts of the DSN win, so several hosts and ``target_session_attrs`` work as in libpq. A name
    in the DSN follows ``application_name``, by which other nodes find the sessions of a lost node.
    """
    given = conninfo_to_dict(dsn)
    timeouts = {"connect_timeout": CONNECT_TIMEOUT_S, **_KEEPALIVE}
    missing = {name: value for name, value in timeouts.items() if name not in given}
    # Without an encoding here, the server could refuse that of the environment.
    encoding = SETTINGS["client_encoding"]
    named = f"{application_name} {given.get('application_name', '')}".rstrip()
    return make_conninfo(dsn, application_name=named, client_encoding=encoding, **missing)


async def connect_async(
    conninfo: str,
    kind: type[ConnectionT],
    *,
    prepare_after: int | None = PREPARED_AFTER,
    timeouts: Timeouts | None = UNLIMITED,
) -> ConnectionT:
    """Open a connection in autocommit mode, with `SETTINGS`.

    Args:
        conninfo: the `connection_string`.
        kind: the class of the connection.
        prepare_after: executions after which a statement is prepared; None for never.
        timeouts: those of the session; None leaves them as they are.

    Raises:
        UnsuitableDatabase: the database's encoding is not UTF-8.
    """
    connection = await kind.connect(conninfo, autocommit=True, prepare_threshold=prepare_after)
    try:
        _require_utf8(connection)
        await connection.execute(_set_statement(timeouts))
    except BaseException:
        await connection.close()
        raise
    return connection


def connect(conninfo: str) -> psycopg.Connection[Any]:
    """Open a blocking connection, like `connect_async`."""
    connection = psycopg.connect(conninfo, autocommit=True)
    try:
        _require_utf8(connection)
        connection.execute(_set_statement(UNLIMITED))
    except BaseException:
        connection.close()
        raise
    return connection


def _set_statement(timeouts: Timeouts | None) -> str:
    settings = SETTINGS if timeouts is None else {**SETTINGS, **timeouts.settings()}
    return "; ".join(f"SET {name} = '{value}'" for name, value in settings.items())


def _require_utf8(connection: psycopg.BaseConnection[Any]) -> None:
    """Raise UnsuitableDatabase unless the database stores any text of a request."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):  # None where a pooler does not report it
        raise UnsuitableDatabase(
            f"the database's encoding is {encoding}; campaignd needs UTF8",
            hint="create a database with ENCODING 'UTF8' TEMPLATE template0",
        )
