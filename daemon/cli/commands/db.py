"""`campaignd db upgrade | current | roles | exec`: the schema, its roles, PostgreSQL's programs."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from config.environment import whole_environment
from daemon.cli.context import context_of
from daemon.cli.store import command_timeout, open_database
from storage import migrate
from storage.embedded import embedded_postgres, embedded_programs
from storage.migrate import libpq_environment
from storage.roles import roles_sql

db = typer.Typer(
    help="Upgrade the schema, print roles, run PostgreSQL's programs.", no_args_is_help=True
)


@db.command()
def upgrade(context: typer.Context) -> None:
    """Migrate the schema to the version of this release."""
    with _database_once_it_answers(context, create=True) as dsn:
        before = migrate.current_schema(dsn)
        migrate.upgrade(dsn)
        after = migrate.current_schema(dsn)
    print(f"schema {after}" if before == after else f"schema {before.version or 'none'} -> {after}")


@db.command()
def current(context: typer.Context) -> None:
    """Show the version of the schema, and whether this release can work on it."""
    with _database_once_it_answers(context, create=False) as dsn:
        found = migrate.current_schema(dsn)
    print(f"schema {found}")


@db.command()
def roles(
    prefix: Annotated[
        str, typer.Option(metavar="NAME", help="What the names of the roles begin with.")
    ] = "campaignd",
) -> None:
    """Print the SQL that makes the roles and grants what each needs.

    PREFIX_owner upgrades the schema, PREFIX_app runs campaignd, PREFIX_worker acquires runs by SQL,
    PREFIX_readonly reads. An administrator runs the SQL with psql, after each upgrade.
    """
    if not re.fullmatch("[a-z_][a-z0-9_]{0,49}", prefix):
        raise typer.BadParameter(
            f"{prefix!r} is invalid; allowed are a-z, 0-9 and _", param_hint="--prefix"
        )
    print(roles_sql(prefix), end="")


@db.command("exec", context_settings={"allow_interspersed_args": False})
def exec_(
    context: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="PROGRAM", help="psql, pg_dump, pg_restore or another, with its arguments."
        ),
    ],
    create: Annotated[
        bool,
        typer.Option("--create", help="Make an empty embedded database first, to restore into."),
    ] = False,
) -> int:
    """Run one of PostgreSQL's programs on the database.

    The exit code is the program's. The schema is not migrated.
    """
    settings = context_of(context).read_settings()
    environment = whole_environment()
    environment |= {"PGTZ": "UTC", "PGDATESTYLE": "ISO"}
    path = [environment.get("PATH", os.defpath)]
    programs = settings.embedded_programs
    bundled = str(embedded_programs(settings.state_dir, programs))
    if settings.database_url is not None:
        # The client programs that come with campaignd are the last resort: there may be no others.
        environment["PATH"] = os.pathsep.join([*path, bundled])
        return _run_program(command, environment | libpq_environment(settings.database_url))
    environment["PATH"] = os.pathsep.join([bundled, *path])
    with embedded_postgres(settings.state_dir, programs=programs, create=create) as dsn:
        return _run_program(command, environment | libpq_environment(dsn))


def _run_program(command: list[str], environment: dict[str, str]) -> int:
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        raise typer.BadParameter(f"there is no program {command[0]!r}")
    # Control-C is for the program: psql ends a query with it, not itself.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        done = subprocess.run([program, *command[1:]], env=environment, check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


@contextmanager
def _database_once_it_answers(context: typer.Context, *, create: bool) -> Iterator[str]:
    """Provide the URL of the database once it answers."""
    options = context_of(context)
    settings = options.read_settings()

    async def wait_for_answer(dsn: str) -> None:
        async with open_database(dsn, command_timeout(options, settings)):
            pass

    with options.provide_database(settings, create=create) as dsn:
        asyncio.run(wait_for_answer(dsn))
        yield dsn
