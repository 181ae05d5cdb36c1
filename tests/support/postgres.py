"""PostgreSQL for tests: databases on a shared server, and servers that a test may crash."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from storage.embedded import embedded_postgres, postmaster
from storage.embedded.os_user import server_user
from storage.roles import roles_sql

SESSION_TIMEZONE = "Asia/Kathmandu"
"""The default time zone of sessions, far from UTC, so that a forgotten zone makes a test fail."""


def url_of_database(url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def url_for_role(url: str, role: str) -> str:
    """Return the URL of the same database for another role, with the same password."""
    parts = urlsplit(url)
    password, _, host = parts.netloc.rpartition("@")
    _, colon, password = password.partition(":")
    return urlunsplit(parts._replace(netloc=f"{role}{colon}{password}@{host}"))


def url_for_application(url: str) -> str:
    """Return the URL of the same database for the role that runs campaignd."""
    return url_for_role(url, "campaignd_app")


def make_roles(server: str, url: str) -> None:
    """Make the roles of campaignd in a migrated database, with the superuser's password."""
    password = urlsplit(server).password
    with psycopg.connect(server, autocommit=True) as lock, psycopg.connect(url) as connection:
        # Roles are the server's, and another worker of the tests may make them at the same time.
        lock.execute("SELECT pg_advisory_lock(hashtext('roles'))")
        connection.autocommit = True
        connection.execute(roles_sql("campaignd").encode())
        for role in ("owner", "app", "worker", "readonly") if password else ():
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(f"campaignd_{role}"), sql.Literal(password)
                )
            )


OTHERWISE = {
    "client_encoding": "LATIN1",
    "TimeZone": "Asia/Kathmandu",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "enable_seqscan": "on",
    "jit": "on",
    "max_parallel_workers_per_gather": "4",
    "plan_cache_mode": "auto",
}
"""Another value for each setting that campaignd needs."""


def set_unusual_settings(url: str) -> None:
    """Give the database other settings than campaignd needs; later sessions begin with them."""
    with psycopg.connect(url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        for setting, value in OTHERWISE.items():
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(name, sql.SQL(setting), value)
            )


@contextmanager
def fresh_database(
    server: str, template: str = "template0", *, encoding: str | None = None
) -> Iterator[tuple[str, str]]:
    """Create a database; yield its name and URL, and drop it even if sessions are left in it.

    The server may be restarted meanwhile. With another encoding, the locale is C.
    """
    options = sql.SQL("")
    if encoding is not None:
        options = sql.SQL(" ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'").format(encoding)
    name = f"test_{uuid.uuid4().hex}"
    identifier = sql.Identifier(name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(identifier, sql.Identifier(template))
            + options
        )
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET timezone = {}").format(identifier, SESSION_TIMEZONE)
        )
    try:
        yield name, url_of_database(server, name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


class PostgresServer:
    """A PostgreSQL server that a test module may crash and start again."""

    def __init__(self, state_dir: Path, url: str) -> None:
        self.url = url
        self.data = state_dir / "postgres" / "data"
        self._log = state_dir / "postgres" / "server.log"
        found = postmaster.read_postmaster(self.data)
        assert found is not None
        assert found.socket_dir is not None
        self.socket_dir = found.socket_dir

    @property
    def pid(self) -> int:
        """Process id of the postmaster."""
        found = postmaster.read_postmaster(self.data)
        assert found is not None
        return found.pid

    @property
    def is_alive(self) -> bool:
        """Whether the postmaster runs."""
        found = postmaster.read_postmaster(self.data)
        return found is not None and postmaster.is_alive(self.data, found)

    def end_by_signal(self, number: int) -> None:
        """End the server by a signal (SIGQUIT: immediate shutdown) and wait for its end."""
        pid = self.pid
        os.kill(pid, number)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def start(self) -> None:
        """Start the server; return when it accepts connections."""
        postmaster.start_server(
            postmaster.find_programs(self.data),
            self.data,
            server_user(self.data),
            self.socket_dir,
            self._log,
        )


@contextmanager
def private_server(parent: Path | None = None) -> Iterator[PostgresServer]:
    """Start a server with an empty migrated database; delete both afterwards."""
    # Imported here, so that tests without a database start faster.
    from storage.migrate import upgrade

    top = Path(tempfile.mkdtemp(prefix="campaignd-own-", dir=parent))
    top.chmod(0o711)
    try:
        with embedded_postgres(top) as url:
            upgrade(url)
            make_roles(url, url)
            server = PostgresServer(top, url)
            try:
                yield server
            finally:
                with contextlib.suppress(Exception):
                    psycopg.connect(url, connect_timeout=5).close()
    finally:
        shutil.rmtree(top, ignore_errors=True)
