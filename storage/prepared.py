"""Statements that requests ask again and again: built once, carried out by the driver itself.

To build a statement of fifty columns, and to find it among those compiled before, takes SQLAlchemy
ten times as long as its execution takes here. So it is compiled when it is first used, and from
then on is a text with places for values.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import cached_property
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql.psycopg import dialect

from storage.without_orm import AsyncConnection


class Prepared:
    """A statement as text, with the values that are always the same.

    Args:
        build: makes the statement; what varies is a ``bindparam`` in it.
    """

    def __init__(self, build: Callable[[], sa.ClauseElement]) -> None:
        self._build = build

    @cached_property
    def _compiled(self) -> tuple[str, dict[str, Any]]:
        compiled = self._build().compile(dialect=dialect())  # type: ignore[no-untyped-call]
        constants = {
            name: str(value) if isinstance(value, StrEnum) else value
            for name, value in compiled.params.items()
        }
        return str(compiled), constants

    def with_values(self, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The text, and all of its values; an object is JSON."""
        text, constants = self._compiled
        given = {
            name: Jsonb(value) if isinstance(value, dict) else value
            for name, value in values.items()
        }
        return text, {**constants, **given}


async def carry_out(connection: AsyncConnection, prepared: Prepared, **values: Any) -> list[Any]:
    """Execute a statement on a connection, in its transaction if it has one.

    Returns:
        Its rows, whose columns are attributes; none of a statement that returns none.
    """
    pool = connection.engine.pool
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, psycopg.AsyncConnection)
    try:
        async with driver.cursor(row_factory=namedtuple_row) as cursor:
            await cursor.execute(*prepared.with_values(values))
            return await cursor.fetchall() if cursor.description else []
    except psycopg.Error:
        if driver.closed:
            await connection.invalidate()
            # Its neighbours were lost with it, most likely: none is tried in vain.
            if connection.engine.pool is pool:
                await connection.engine.dispose()
        raise
