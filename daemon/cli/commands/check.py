"""`campaignd check`: is everything there that `campaignd run` needs? One line for each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from config.dsn import redacted_dsn
from config.errors import ConfigurationError
from daemon.cli.opening import context_of, wait_for_database
from daemon.domain.errors import CampaigndError
from daemon.targets.registry import build
from storage.engine import Database
from storage.schema import require_schema

if TYPE_CHECKING:
    from config.settings import Settings


def check(context: typer.Context) -> int:
    """Say of configuration, database, schema and targets whether each is right."""
    invocation = context_of(context)
    try:
        settings = invocation.settings()
    except ConfigurationError as error:  # and so it is not known where to look for the rest
        for problem in error.problems:
            _say(False, "configuration", problem)
        return 1
    good = _say(True, "configuration")
    try:
        with invocation.database(settings) as dsn:
            good = asyncio.run(_check_database(settings, dsn))
    except CampaigndError as error:
        good = _fail("database", error)
    for name, wrong in _targets(settings):
        good = _say(wrong is None, f"target {name}", wrong or "") and good
    return 0 if good else 1


async def _check_database(settings: Settings, dsn: str) -> bool:
    given = settings.database_url
    where = f"embedded, in {settings.state_dir}" if given is None else redacted_dsn(given)
    database = Database(dsn, pool_size=1)
    try:
        try:
            await wait_for_database(database, dsn, settings.scheduler.startup_timeout)
            async with database.statement() as connection:
                shown = await connection.exec_driver_sql("SHOW server_version")
                _say(True, "database", f"PostgreSQL {shown.scalar_one()}, {where}")
        except CampaigndError as error:
            return _fail("database", error)
        try:
            async with database.statement() as connection:
                schema = await require_schema(connection)
        except CampaigndError as error:
            return _fail("schema", error)
        return _say(True, "schema", str(schema))
    finally:
        await database.close()


def _targets(settings: Settings) -> Iterator[tuple[str, str | None]]:
    for name, target in settings.targets.items():
        try:
            build({name: target}, _silent)
        except Exception as error:  # whatever a target's own code raises
            yield name, str(error)
        else:
            yield name, None


def _silent(event: str, /, **fields: object) -> None:
    """Log nothing."""


def _fail(what: str, error: CampaigndError) -> bool:
    return _say(False, what, error.detail + (f" ({error.hint})" if error.hint else ""))


def _say(good: bool, what: str, detail: str = "") -> bool:
    print(
        ("ok " if good else "failed ") + what + (f": {' '.join(detail.split())}" if detail else "")
    )
    return good
