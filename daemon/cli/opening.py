"""From settings to an open database: the one place, for every command that needs it."""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import typer

from config.dsn import redacted_dsn
from daemon.cli.context import CommandContext
from storage.engine import Database
from storage.errors import StorageUnavailable
from storage.schema import require_schema

if TYPE_CHECKING:
    from config.settings import Settings
    from daemon.campaign_service import CampaignService
    from storage.campaign_reads import CampaignReads

_LONGEST_WAIT_S = 1.0


@dataclass(frozen=True)
class Store:
    """An open database whose schema is the right one, and what commands do with it."""

    settings: Settings
    database: Database

    @cached_property
    def history(self) -> CampaignReads:
        """Reads for people."""
        from storage.campaign_reads import CampaignReads

        return CampaignReads(self.database)

    @cached_property
    def control(self) -> CampaignService:
        """What a person may ask of campaigns."""
        from daemon.campaign_service import CampaignService
        from storage.campaigns import Campaigns
        from storage.run_results import RunResults

        scheduler = self.settings.scheduler
        return CampaignService(
            Campaigns(self.database),
            runs=RunResults(self.database),
            continuous_interval=scheduler.continuous_interval,
            misfire_grace_time=scheduler.misfire_grace_time,
            emit=self._tell,
        )

    def _tell(self, event: str, /, **fields: Any) -> None:
        """What a command has ended, as a line on standard error: rare, so loaded only then."""
        from daemon.telemetry.event_log import EventLog
        from daemon.telemetry.log_setup import configure, get_logger

        log = self.settings.log
        configure(log.level, log.format)
        EventLog(get_logger())(event, **fields)


def with_store(
    context: typer.Context,
    work: Callable[[Store], Awaitable[int | None]],
    *,
    create: bool = False,
) -> int:
    """Open what the settings name, do the work, close it; the command's exit code.

    `create` has an embedded database made where there is none.

    Raises:
        EmbeddedError, StorageUnavailable: the database can not be reached (exit code 3).
        SchemaOutOfDate: it needs another release, or `campaignd db upgrade` (exit code 4).
    """
    invocation = context_of(context)
    settings = invocation.settings()
    with invocation.database(settings, create=create) as dsn:
        return asyncio.run(_work(settings, dsn, work))


def context_of(context: typer.Context) -> CommandContext:
    """The global options that a command was called with."""
    invocation = context.find_object(CommandContext)
    assert invocation is not None
    return invocation


async def _work(
    settings: Settings, dsn: str, work: Callable[[Store], Awaitable[int | None]]
) -> int:
    async with open_store(settings, dsn) as store:
        return await work(store) or 0


@asynccontextmanager
async def open_store(settings: Settings, dsn: str) -> AsyncIterator[Store]:
    """A pool on `dsn` once the database answers, its schema checked."""
    database = Database(
        dsn,
        pool_size=2,
        pool_timeout=settings.database.pool_timeout,
        prepare=settings.listen_database_url is None,
    )
    try:
        await wait_for_database(database, dsn, settings.scheduler.startup_timeout)
        async with database.statement() as connection:
            await require_schema(connection)
        yield Store(settings, database)
    finally:
        await database.close()


async def wait_for_database(database: Database, dsn: str, timeout: float) -> None:
    """Return when the database answers; StorageUnavailable when it does not within `timeout`."""
    deadline = time.monotonic() + timeout
    wait, told = 0.1, False
    while True:
        try:
            left = max(0.1, deadline - time.monotonic())
            async with asyncio.timeout(left), database.statement() as connection:
                await connection.exec_driver_sql("SELECT 1")
            return
        except (StorageUnavailable, TimeoutError) as error:
            why = str(error) or "no answer"
            if time.monotonic() + wait >= deadline:
                raise StorageUnavailable(
                    f"no database at {redacted_dsn(dsn)} within {timeout:g} s: {why}",
                    hint="is it running, and is CAMPAIGND_DATABASE_URL right?",
                ) from error
            if not told and sys.stderr.isatty():
                print(f"campaignd: waiting for the database: {why}", file=sys.stderr)
                told = True
        await asyncio.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT_S)


def actor() -> str:
    """Who is at the command line, for `campaign_events`."""
    user = os.geteuid()
    try:
        return f"cli:{pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"cli:{user}"
