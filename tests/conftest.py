"""What every test may ask for: a fresh migrated database, and a process that hides nothing.

The process's and the database's time zone are both far from UTC, so that whoever forgets a zone
fails. `CAMPAIGND_TEST_DATABASE_URL` names a server to use (as a superuser) instead of the embedded
one; settings of whoever runs the tests are taken out of the environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import psycopg
import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from psycopg import sql

GIVEN_SERVER = os.environ.get("CAMPAIGND_TEST_DATABASE_URL")
SEARCH = bool(os.environ.get("PROPERTIES_SEARCH"))
SESSION_TIMEZONE = "Asia/Kathmandu"

for name in [name for name in os.environ if name.startswith("CAMPAIGND_")]:
    del os.environ[name]
os.environ["TZ"] = "America/St_Johns"
time.tzset()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Of a shell's background job. The processes that tests start are to hear an interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing is written into the checkout, which may be read-only.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"hypothesis-{os.getuid()}")
hypothesis.settings.register_profile(
    "campaignd",
    database=None,
    deadline=None,
    # The suite says the same of the same code to everybody; new cases are looked for on purpose.
    derandomize=not SEARCH,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("campaignd")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of the server's database `postgres`, as superuser: one server for the session."""
    if GIVEN_SERVER:
        yield GIVEN_SERVER
        return
    # Imported here: tests without a database start faster.
    from storage.embedded import embedded_postgres

    state_dir = Path(tempfile.mkdtemp(prefix="campaignd-tests-"))
    if os.geteuid() == 0:
        state_dir.chmod(0o711)
    try:
        with embedded_postgres(state_dir) as dsn:
            url = with_database(dsn, "postgres")
            with psycopg.connect(url, autocommit=True) as connection:
                # Of these tables nothing needs to outlive a power failure.
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    connection.execute(
                        sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting))
                    )
                connection.execute("SELECT pg_reload_conf()")
            yield url
    finally:
        shutil.rmtree(state_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def template_database(postgres_server: str) -> Iterator[str]:
    """Name of a database that is migrated and empty; nobody connects to it."""
    from storage.migrate import upgrade

    with fresh_database(postgres_server) as (name, url):
        upgrade(url)
        yield name


@pytest.fixture
def database_url(postgres_server: str, template_database: str) -> Iterator[str]:
    """URL of a migrated database that is this test's own."""
    with fresh_database(postgres_server, template_database) as (_, url):
        yield url


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """URL of a database without a schema that is this test's own."""
    with fresh_database(postgres_server) as (_, url):
        yield url


@pytest.fixture
def new_database_url(postgres_server: str, template_database: str) -> Iterator[Callable[[], str]]:
    """Call it for one more migrated database, as often as wanted."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(fresh_database(postgres_server, template_database))[1]


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextmanager
def fresh_database(server: str, template: str = "template0") -> Iterator[tuple[str, str]]:
    """Name and URL of a new database, which is dropped at the end, whoever is still in it."""
    name = f"test_{uuid.uuid4().hex}"
    identifier = sql.Identifier(name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(identifier, sql.Identifier(template))
        )
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET timezone = {}").format(identifier, SESSION_TIMEZONE)
        )
        try:
            yield name, with_database(server, name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
