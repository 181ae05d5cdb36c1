"""Rows as named tuples, and the connections that return them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import sqlalchemy as sa

from daemon.domain.campaign.state_machine import Status
from storage.engine import Database
from storage.errors import StorageUnavailable

ECHO = sa.select(
    sa.literal(Status.DRAFT, sa.Text).label("constant"),
    sa.bindparam("given", type_=sa.Text).label("given"),
    sa.literal_column("'100%'").label("percent"),
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=4, overflow=0)
    try:
        yield database
    finally:
        await database.close()


async def test_rows_hold_constants_values_and_percent_signs(database: Database) -> None:
    """Each execution has its own values; the constants of the statement stay as they are."""
    for given in ("one", None, "it's 50%"):
        (row,) = await database.rows(ECHO, given=given)
        assert tuple(row) == ("draft", given, "100%")
        assert row.constant == "draft"


async def test_a_statement_without_rows_returns_none(database: Database) -> None:
    """Setting a value returns an empty list instead of an error."""
    assert await database.rows(sa.text("SET application_name = 'campaignd'")) == []


async def test_a_lost_server_fails_one_request(database: Database, database_url: str) -> None:
    """One request fails with the lost connection; the pool drops its other connections."""
    await asyncio.gather(*(database.rows(ECHO, given="x") for _ in range(4)))
    with psycopg.connect(database_url, autocommit=True) as other:
        ended = other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'campaignd' AND datname = current_database()"
        ).fetchall()
    assert len(ended) == 4
    with pytest.raises(StorageUnavailable):
        await database.rows(ECHO, given="x")
    for _ in range(4):
        assert len(await database.rows(ECHO, given="x")) == 1


async def test_a_failing_statement_costs_no_connection(database: Database) -> None:
    """The connection returns to the pool and works."""
    wrong = sa.select(sa.literal_column("1/0").label("no"))
    for _ in range(6):
        with pytest.raises(sa.exc.DBAPIError) as failure:
            await database.rows(wrong)
        assert isinstance(failure.value.orig, psycopg.errors.DivisionByZero)
    assert database.connections_in_use == 0
    assert len(await database.rows(ECHO, given="x")) == 1
