"""Fixtures for every test: a fresh migrated database, and a process that hides no mistake.

The time zones of the process and of the database are both far from UTC, so that a forgotten zone
makes a test fail. `CAMPAIGND_TEST_DATABASE_URL` names a server to use (as a superuser) instead of
the embedded one. Settings of the caller are removed from the environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import psycopg
import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from psycopg import sql

from tests.support.postgres import fresh_database, make_roles, url_for_application, url_of_database

if TYPE_CHECKING:
    from tests.support.processes import Daemons

GIVEN_SERVER = os.environ.get("CAMPAIGND_TEST_DATABASE_URL")
SEARCH = bool(os.environ.get("PROPERTIES_SEARCH"))

for name in [name for name in os.environ if name.startswith("CAMPAIGND_")]:
    del os.environ[name]
os.environ["TZ"] = "America/St_Johns"
time.tzset()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # The shell ignores interrupts for a background job; the processes that tests start need them.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Write nothing into the checkout, which may be read-only.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"hypothesis-{os.getuid()}")
hypothesis.settings.register_profile(
    "campaignd",
    database=None,
    deadline=None,
    # The suite's result is the same for the same code; `make properties` searches for new cases.
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
    # Imported here, so that tests without a database start faster.
    from storage.embedded import embedded_postgres

    state_dir = Path(tempfile.mkdtemp(prefix="campaignd-tests-"))
    if os.geteuid() == 0:
        state_dir.chmod(0o711)
    try:
        with embedded_postgres(state_dir) as dsn:
            url = url_of_database(dsn, "postgres")
            with psycopg.connect(url, autocommit=True) as connection:
                # No data of these tests needs to outlive a power failure.
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
    """Name of an empty migrated database, to which no test connects."""
    from storage.migrate import upgrade

    with fresh_database(postgres_server) as (name, url):
        upgrade(url)
        make_roles(postgres_server, url)
        yield name


@pytest.fixture
def superuser_url(postgres_server: str, template_database: str) -> Iterator[str]:
    """URL of a migrated database for this test only, as superuser."""
    with fresh_database(postgres_server, template_database) as (_, url):
        yield url


@pytest.fixture
def database_url(superuser_url: str) -> str:
    """URL of a migrated database for this test only, as the role that runs campaignd."""
    return url_for_application(superuser_url)


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    """Start `campaignd` processes; none outlives the test."""
    from tests.support.processes import Daemons

    started = Daemons(tmp_path)
    try:
        yield started
    finally:
        started.end_all()


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """URL of a database without a schema, for this test only."""
    with fresh_database(postgres_server) as (_, url):
        yield url


@pytest.fixture
def new_database_url(postgres_server: str, template_database: str) -> Iterator[Callable[[], str]]:
    """Return a function that creates a migrated database, for tests that need several."""
    with ExitStack() as stack:
        yield lambda: url_for_application(
            stack.enter_context(fresh_database(postgres_server, template_database))[1]
        )
