"""A database's URL as the environment of PostgreSQL's own programs, which is no public place."""

from __future__ import annotations

from psycopg.pq import Conninfo


def libpq_environment(dsn: str) -> dict[str, str]:
    """`PGHOST`, `PGPASSWORD` and so on; options that have no such variable are left out."""
    return {
        option.envvar.decode(): option.val.decode()
        for option in Conninfo.parse(dsn.encode())
        if option.envvar and option.val
    }
