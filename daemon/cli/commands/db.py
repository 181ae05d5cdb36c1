"""`campaignd db upgrade | current | exec`: the schema, and PostgreSQL's own programs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from typing import Annotated

import typer

from config.command_environment import whole_environment
from daemon.cli.opening import context_of, wait_for_database
from storage import migrate
from storage.engine import Database

db = typer.Typer(no_args_is_help=True)


@db.command()
def upgrade(context: typer.Context) -> None:
    """Bring the schema to the version that this release needs."""
    invocation = context_of(context)
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
    invocation = context_of(context)
    settings = invocation.settings()
    with invocation.database(settings) as dsn:
        asyncio.run(_answers(dsn, settings.scheduler.startup_timeout))
        found = migrate.current(dsn)
    print(f"schema {found}")


@db.command("exec", context_settings={"allow_interspersed_args": False})
def exec_(
    context: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(metavar="PROGRAM", help="Such as psql, pg_dump, pg_restore; its arguments."),
    ],
    create: Annotated[
        bool, typer.Option("--create", help="Make an embedded database first, empty, to restore.")
    ] = False,
) -> int:
    """Run one of PostgreSQL's programs on the database; its exit code. Nothing is migrated."""
    from storage.embedded import embedded_postgres, embedded_programs
    from storage.libpq import libpq_environment

    settings = context_of(context).settings()
    environment = whole_environment()
    path = [environment.get("PATH", os.defpath)]
    # Last, the client programs that come with campaignd may be the only ones.
    bundled = str(embedded_programs(settings.state_dir))
    if settings.database_url is not None:
        environment["PATH"] = os.pathsep.join([*path, bundled])
        return _run(command, environment | libpq_environment(settings.database_url))
    environment["PATH"] = os.pathsep.join([bundled, *path])
    with embedded_postgres(settings.state_dir, create=create) as dsn:
        return _run(command, environment | libpq_environment(dsn))


def _run(command: list[str], environment: dict[str, str]) -> int:
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise typer.BadParameter(f"there is no program {command[0]!r}")
    # Control-C is the program's: psql ends a query with it, not itself.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        done = subprocess.run([program, *command[1:]], env=environment, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


async def _answers(dsn: str, timeout: float) -> None:
    database = Database(dsn, pool_size=1)
    try:
        await wait_for_database(database, dsn, timeout)
    finally:
        await database.close()
