"""Statements that are built once, and the connections that carry them out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import sqlalchemy as sa

from daemon.domain.campaign.state_machine import Status
from storage.engine import Database
from storage.errors import StorageUnavailable
from storage.prepared import Prepared

ECHO = Prepared(
    lambda: sa.select(
        sa.literal(Status.DRAFT, sa.Text).label("constant"),
        sa.bindparam("given", type_=sa.Text).label("given"),
        sa.literal_column("'100%'").label("percent"),
    )
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, pool_size=4, overflow=0)
    try:
        yield database
    finally:
        await database.close()


async def test_constants_values_and_signs(database: Database) -> None:
    """Each time with its own values; what is written in the statement stays as it is."""
    for given in ("one", None, "it's 50%"):
        (row,) = await database.rows(ECHO, given=given)
        assert tuple(row) == ("draft", given, "100%")
        assert row.constant == "draft"


async def test_a_statement_is_built_once(database: Database) -> None:
    """However often it is asked."""
    built = []

    def build() -> sa.Select[int]:
        built.append(1)
        return sa.select(sa.literal(1).label("one"))

    once = Prepared(build)
    for _ in range(3):
        assert [row.one for row in await database.rows(once)] == [1]
    assert built == [1]


async def test_a_lost_server_is_told_once(database: Database, database_url: str) -> None:
    """One request fails with what was lost; the other connections of the pool are not tried."""
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


async def test_a_statement_that_fails_costs_no_connection(database: Database) -> None:
    """It is given back as good as it was."""
    wrong = Prepared(lambda: sa.select(sa.literal_column("1/0").label("no")))
    for _ in range(6):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await database.rows(wrong)
    assert database.connections_in_use == 0
    assert len(await database.rows(ECHO, given="x")) == 1
