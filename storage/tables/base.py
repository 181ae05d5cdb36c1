"""What the tables share: the metadata with its naming rules, and types."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import DateTime, MetaData
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    },
)


class XID8(UserDefinedType[int]):
    """PostgreSQL's full transaction id; a poll of changes compares it with a snapshot's xmin."""

    cache_ok = True

    def get_col_spec(self, **_kw: object) -> str:
        """Return the type's name in DDL."""
        return "xid8"


INSTANT = DateTime(timezone=True)
WALL_TIME = DateTime(timezone=False)


class PgSnapshot(UserDefinedType[str]):
    """PostgreSQL's snapshot of transactions."""

    cache_ok = True

    def get_col_spec(self, **_kw: object) -> str:
        """Return the type's name in DDL."""
        return "pg_snapshot"


def one_of_check(column: str, values: Iterable[StrEnum]) -> str:
    """Return the condition that ``column`` has one of ``values``."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"
