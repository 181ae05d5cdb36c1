"""`campaignd db upgrade | current`: the schema of the database."""

from __future__ import annotations

import asyncio

import typer

from daemon.cli.opening import await_database, invocation_of
from storage import migrate
from storage.engine import Database

db = typer.Typer(no_args_is_help=True)


@db.command()
def upgrade(context: typer.Context) -> None:
    """Bring the schema to the version that this release needs."""
    invocation = invocation_of(context)
    settings = invocation.settings()
    with invocation.database(settings, create=True) as dsn:
        asyncio.run(_answers(dsn, settings.scheduler.startup_timeout))
        before = migrate.current(dsn)
        migrate.upgrade(dsn)
        after = migrate.current(dsn)
    print(f"schema {after}" if before == after else f"schema {before.version or 'none'} -> {after}")


@db.command()
def current(context: typer.Context) -> None:
    """Say which version the schema has, and whether this release can work on it."""
    invocation = invocation_of(context)
    settings = invocation.settings()
    with invocation.database(settings) as dsn:
        asyncio.run(_answers(dsn, settings.scheduler.startup_timeout))
        found = migrate.current(dsn)
    print(f"schema {found}")


async def _answers(dsn: str, timeout: float) -> None:
    database = Database(dsn, pool_size=1)
    try:
        await await_database(database, dsn, timeout)
    finally:
        await database.close()
