"""The settings of database sessions hold, whatever the server, the role, the URL and PG* say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from psycopg.conninfo import make_conninfo

from storage import migrate
from storage.engine import Database, rows_of
from storage.errors import StorageUnavailable, TransactionAborted, UnsuitableDatabase
from storage.notifications import Notifications
from storage.session import (
    BY_HAND,
    FIRING,
    SERVING,
    SETTINGS,
    Timeouts,
    connect,
    connect_async,
    connection_string,
)
from tests.support.postgres import OTHERWISE, fresh_database, set_unusual_settings

ROOT = Path(__file__).parents[3]
NAMES = list(SETTINGS)
SHOWN = sa.text("SELECT name, setting FROM pg_settings WHERE name = ANY (:names)")
SHOWN_TO_PSYCOPG = "SELECT name, setting FROM pg_settings WHERE name = ANY (%s)"


def of_the_database(url: str, _: pytest.MonkeyPatch) -> str:
    """Set the other values for the database, as for a role or a server."""
    set_unusual_settings(url)
    return url


def of_the_url(url: str, _: pytest.MonkeyPatch) -> str:
    """Put the other values into the URL's options."""
    return f"{url}{'&' if '?' in url else '?'}options={quote(_options())}&client_encoding=LATIN1"


def of_pgoptions(url: str, environment: pytest.MonkeyPatch) -> str:
    """Put the other values into PGOPTIONS."""
    environment.setenv("PGOPTIONS", _options())
    return url


def of_variables(url: str, environment: pytest.MonkeyPatch) -> str:
    """Put the other values into libpq's variables."""
    environment.setenv("PGDATESTYLE", "German")
    environment.setenv("PGTZ", "America/New_York")
    environment.setenv("PGCLIENTENCODING", "nonsense")
    return url


def _options() -> str:
    # A space in a value is written with a backslash.
    given = {name: value.replace(" ", r"\ ") for name, value in OTHERWISE.items()}
    return " ".join(f"-c {name}={value}" for name, value in given.items())


@pytest.fixture(params=[of_the_database, of_the_url, of_pgoptions, of_variables])
def url_with_others(
    request: pytest.FixtureRequest, superuser_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A database whose sessions would have other settings."""
    apply: Callable[[str, pytest.MonkeyPatch], str] = request.param
    return apply(superuser_url, monkeypatch)


async def test_settings_hold_in_the_pool(url_with_others: str) -> None:
    """Also after a transaction that is rolled back, and in the next one."""
    database = Database(url_with_others, pool_size=1)
    try:
        async with database.transaction() as connection:
            assert dict(await rows_of(connection, SHOWN, names=NAMES)) == SETTINGS
            await connection.rollback()
        async with database.statement() as connection:
            assert dict(await rows_of(connection, SHOWN, names=NAMES)) == SETTINGS
            (row,) = await rows_of(connection, sa.text("SELECT now() AS at"))
            assert row.at.utcoffset() == timedelta()
    finally:
        await database.close()


@pytest.mark.parametrize("timeouts", [FIRING, SERVING, BY_HAND])
async def test_every_wait_of_a_session_has_an_end(database_url: str, timeouts: Timeouts) -> None:
    """For locks, statements and transactions; a statement that takes long by nature has none."""
    names = list(timeouts.settings())
    database = Database(database_url, pool_size=1, timeouts=timeouts)
    settings = sa.text(
        "SELECT name, current_setting(name) FROM unnest(CAST(:names AS text[])) AS name"
    )
    try:
        async with database.statement() as connection:
            found = dict(await rows_of(connection, settings, names=names))
            assert found == {
                name: "1min" if value == "60s" else value
                for name, value in timeouts.settings().items()
            }
        async with database.long_transaction() as connection:
            (row,) = await rows_of(connection, sa.text("SHOW statement_timeout"))
            assert row.statement_timeout == "0"
    finally:
        await database.close()


async def test_a_lock_that_is_not_granted_in_time_is_no_outage(database_url: str) -> None:
    timeouts = FIRING._replace(lock="50ms")
    database = Database(database_url, timeouts=timeouts)
    try:
        async with database.transaction() as holder:
            await holder.execute(sa.text("LOCK TABLE campaigns"))
            with pytest.raises(TransactionAborted, match="lock timeout"):
                await database.rows(sa.text("SELECT 1 FROM campaigns"))
    finally:
        await database.close()


@pytest.mark.parametrize("prepare", [True, False])
async def test_a_pooler_gets_no_timeouts_that_other_programs_would_meet(
    database_url: str, prepare: bool
) -> None:
    database = Database(database_url, prepare=prepare, timeouts=FIRING)
    try:
        (row,) = await database.rows(sa.text("SHOW lock_timeout"))
        assert row.lock_timeout == ("2s" if prepare else "0")
    finally:
        await database.close()


async def test_settings_hold_in_single_connections(url_with_others: str) -> None:
    """Those of migrations and of LISTEN."""
    conninfo = connection_string(url_with_others, "campaignd")
    with connect(conninfo) as blocking:
        assert dict(blocking.execute(SHOWN_TO_PSYCOPG, [NAMES]).fetchall()) == SETTINGS
    async with await connect_async(conninfo, psycopg.AsyncConnection) as connection:
        found = await connection.execute(SHOWN_TO_PSYCOPG, [NAMES])
        assert dict(await found.fetchall()) == SETTINGS


@pytest.mark.parametrize("through", ["url", "PGOPTIONS"])
async def test_the_operators_own_options_stay(
    database_url: str, monkeypatch: pytest.MonkeyPatch, through: str
) -> None:
    """Such as a `search_path`, the usual way to a schema of one's own."""
    options, url = "-c search_path=mine", database_url
    if through == "url":
        url = f"{url}{'&' if '?' in url else '?'}options={quote(options)}"
    else:
        monkeypatch.setenv("PGOPTIONS", options)
    with connect(connection_string(url, "campaignd")) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("mine",)


async def test_the_name_of_a_session_holds(
    superuser_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other nodes find the sessions of a lost node by it; the operator's own name follows."""
    monkeypatch.setenv("PGAPPNAME", "environment")
    options = make_conninfo(
        superuser_url, options="-c application_name=options", application_name="billing"
    )
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET application_name = 'database'").format(name)
        )
    for url, expected in ((superuser_url, "campaignd-a"), (options, "campaignd-a billing")):
        database = Database(url, application_name="campaignd-a")
        (shown,) = await database.rows(sa.text("SHOW application_name"))
        assert shown.application_name == expected
        assert await database.shows_its_name()
        database.conninfo = connection_string(url, "campaignd-b")
        assert not await database.shows_its_name(), "as behind a pooler that keeps the first name"
        await database.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_another_encoding_is_refused(postgres_server: str, encoding: str) -> None:
    """By migrations, the pool and LISTEN: a request may contain any character."""
    with fresh_database(postgres_server, encoding=encoding) as (_, url):
        refused = pytest.raises(
            UnsuitableDatabase,
            match=f"^the database's encoding is {encoding}; campaignd needs UTF8$",
        )
        with refused:
            migrate.upgrade(url)
        database = Database(url)
        with refused:
            await database.rows(sa.text("SELECT 1"))
        await database.close()
        with refused:
            await anext(Notifications(url).listen())


def test_the_documentation_lists_the_settings() -> None:
    """So that an operator can give them to a pooler's role."""
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (listed,) = re.findall(r"^## Session settings\n.*?```sql\n(.*?)```", page, re.M | re.S)
    assert dict(re.findall(r"SET (\w+) = '(.*)';\n", listed)) == SETTINGS


def test_no_other_module_connects() -> None:
    """Every session gets the settings."""
    connecting = [
        str(path.relative_to(ROOT))
        for package in ("campaignd", "config", "daemon", "storage")
        for path in sorted((ROOT / package).rglob("*.py"))
        if re.search(r"(psycopg|Connection)\.connect\(|create_engine\([^)]*://\w", path.read_text())
    ]
    assert connecting == ["storage/session.py"]


async def test_a_transaction_that_lost_against_another_is_no_outage(database_url: str) -> None:
    """Serialization failures, deadlocks and locks that are not granted in time."""
    database = Database(database_url)
    try:
        for state in ("40001", "40P01", "55P03"):
            failing = f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$"
            with pytest.raises(TransactionAborted) as caught:
                await database.rows(sa.text(failing))
            assert not caught.value.is_outage
        with pytest.raises(StorageUnavailable) as away:
            await database.rows(sa.text("DO $$ BEGIN RAISE SQLSTATE '57P03'; END $$"))
        assert away.value.is_outage
    finally:
        await database.close()
