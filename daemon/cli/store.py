"""An open database with a checked schema, for the commands that read or change campaigns."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

import typer

from config.dsn import redacted_dsn
from config.servers import find_server, server_name
from config.settings import Settings
from daemon.cli.client import AgendaEntry, Client
from daemon.cli.context import CommandContext, context_of
from daemon.cli.refs import find_campaign, find_run
from daemon.domain.read_models import CampaignDetail, Overview, Ref, StatusCounts
from daemon.runtime.startup import wait_for_database
from storage.brakes import BrakeStore
from storage.campaign_reads import CampaignReads
from storage.engine import Database
from storage.errors import StorageUnavailable
from storage.held_runs import HeldRuns
from storage.privilege_checks import require_privileges
from storage.schema import require_schema

if TYPE_CHECKING:
    from daemon.campaign_service import CampaignService
    from daemon.cli.when import When

TIMEOUT_S = 5.0
"""Seconds that a command waits for the database, unless --timeout is given."""
NOTICE_AFTER_S = 1.0
"""Seconds without an answer after which the wait is reported."""


@dataclass(frozen=True)
class Store:
    """An open database, with the reads and the commands on campaigns."""

    settings: Settings
    database: Database

    @cached_property
    def reads(self) -> CampaignReads:
        """The read models."""
        return CampaignReads(self.database)

    async def campaign_ref(self, text: str) -> Ref:
        """Return the id or uuid that a REF means. Raises NotFound, typer.BadParameter."""
        return await find_campaign(self.reads, text)

    async def run_id(self, text: str) -> UUID:
        """Return the run's id that a RUN means. Raises NotFound, typer.BadParameter."""
        return await find_run(self.reads, text)

    def targets_with(self, wanted: str | None) -> Collection[str]:
        """Return the configured targets: a campaign may name no other."""
        return self.settings.targets

    async def explain(self, shown: CampaignDetail, when: When | None) -> dict[str, Any]:
        """Return an explanation of one time, or of the newest runs."""
        from daemon.cli.explanations import explanation

        return await explanation(self.database, shown, when)

    async def agenda(self, since: datetime, before: datetime) -> Sequence[AgendaEntry]:
        """Return runs of the past and to come."""
        from daemon.cli.agenda_entries import read_entries

        return await read_entries(self.database, since, before)

    async def overview(self) -> Overview:
        """Return the state of the cluster."""
        from storage.cluster_reads import read_overview

        return await read_overview(self.database)

    async def counts(self) -> StatusCounts:
        """Return the number of campaigns and runs by status."""
        from storage.cluster_reads import count_by_status

        return await count_by_status(self.database)

    @cached_property
    def brakes(self) -> BrakeStore:
        """The freezes."""
        return BrakeStore(self.database)

    @cached_property
    def held(self) -> HeldRuns:
        """The runs that wait for an operator."""
        return HeldRuns(self.database, self.settings.scheduler.misfire_grace_time)

    @cached_property
    def service(self) -> CampaignService:
        """The commands on campaigns and runs, which a command that only reads does not load."""
        from daemon.campaign_service import CampaignService
        from storage.campaigns import Campaigns
        from storage.run_results import RunResults

        scheduler = self.settings.scheduler
        return CampaignService(
            Campaigns(self.database),
            runs=RunResults(self.database),
            held=self.held,
            continuous_interval=scheduler.continuous_interval,
            misfire_grace_time=scheduler.misfire_grace_time,
            emit=self._emit,
        )

    def _emit(self, event: str, /, **fields: Any) -> None:
        """Log an event on standard error: a run that the command has ended."""
        from daemon.telemetry.event_log import EventLog
        from daemon.telemetry.log_setup import configure_log, get_logger

        log = self.settings.log
        configure_log(log.level, log.format)
        EventLog(get_logger())(event, **fields)


def with_client(
    context: typer.Context,
    action: Callable[[Client], Awaitable[int | None]],
    *,
    create: bool = False,
) -> int:
    """Run an action on the server of --server, or else on the configured database.

    Args:
        context: the command's context.
        action: returns the exit code; None means 0.
        create: make an embedded database where there is none.

    Raises:
        ServerUnreachable: the server does not answer (exit code 3).
        ConfigurationError: the profile or the API key cannot be read.
        Others: as `with_store`.
    """
    options = context_of(context)
    server = find_server(options.server, options.key_file)
    if server is None:
        return with_store(context, action, create=create)
    from daemon.cli.remote.client import RemoteClient

    client = RemoteClient(server, options.timeout or TIMEOUT_S)
    try:
        return asyncio.run(_code_of(action, client))
    finally:
        client.close()


async def _code_of(action: Callable[[Client], Awaitable[int | None]], client: Client) -> int:
    return await action(client) or 0


def with_store(
    context: typer.Context,
    action: Callable[[Store], Awaitable[int | None]],
    *,
    create: bool = False,
    privileged: bool = False,
) -> int:
    """Open the configured database, run the action on it, close it.

    Args:
        context: the command's context.
        action: returns the exit code; None means 0.
        create: make an embedded database where there is none.
        privileged: check first that the role has every privilege; without it, the role needs only
            those that the action uses.

    Raises:
        EmbeddedError, StorageUnavailable: the database cannot be reached (exit code 3).
        PrivilegeMissing: the role may not do it (exit code 4).
        SchemaOutOfDate: another release or `campaignd db upgrade` is needed (exit code 4).
    """
    options = context_of(context)
    if server_name(options.server) is not None:
        raise typer.BadParameter(
            "this command works on the database itself: run it without --server"
        )
    settings = options.read_settings()

    async def open_and_act(dsn: str) -> int:
        timeout = command_timeout(options, settings)
        async with open_store(settings, dsn, timeout, privileged=privileged) as store:
            return await action(store) or 0

    with options.provide_database(settings, create=create) as dsn:
        return asyncio.run(open_and_act(dsn))


@asynccontextmanager
async def open_store(
    settings: Settings, dsn: str, timeout: float, *, privileged: bool = False
) -> AsyncIterator[Store]:
    """Open a connection pool once the database answers within the timeout; check the schema.

    With ``privileged``, check also that the role has every privilege of campaignd.
    """
    async with open_database(
        dsn,
        timeout,
        pool_size=2,
        pool_timeout=settings.database.pool_timeout,
        prepare=settings.listen_database_url is None,
    ) as database:
        async with database.statement() as connection:
            if privileged:
                await connection.run_sync(require_privileges)
            await require_schema(connection)
        yield Store(settings, database)


@asynccontextmanager
async def open_database(
    dsn: str, timeout: float, *, pool_size: int = 1, **options: Any
) -> AsyncIterator[Database]:
    """Open a connection pool once the database answers; its schema is not checked.

    After a second without an answer, the wait is reported on standard error.

    Raises:
        StorageUnavailable: no answer within ``timeout`` seconds.
    """
    database = Database(dsn, pool_size=pool_size, **options)
    deadline = asyncio.get_running_loop().time() + timeout

    async def ping() -> None:
        try:
            async with asyncio.timeout_at(deadline), database.statement() as connection:
                await connection.exec_driver_sql("SELECT 1")
        except (StorageUnavailable, TimeoutError) as error:
            raise StorageUnavailable(f"{redacted_dsn(dsn)}: {error or 'no answer'}") from error

    notice = asyncio.get_running_loop().call_later(
        NOTICE_AFTER_S, _print_wait, redacted_dsn(dsn), timeout
    )
    try:
        await wait_for_database(ping, timeout=timeout, stop=asyncio.Event(), emit=_emit_nothing)
        notice.cancel()
        yield database
    finally:
        notice.cancel()
        await database.close()


def command_timeout(options: CommandContext, settings: Settings) -> float:
    """Return how long a command waits for the database, in seconds.

    A daemon may have to wait for a database that starts beside it; an operator wants to know.
    """
    return options.timeout or min(TIMEOUT_S, settings.scheduler.startup_timeout)


def _print_wait(where: str, timeout: float) -> None:
    print(
        f"campaignd: waiting up to {timeout:g} s for the database at {where}"
        " (--timeout changes that, Ctrl-C ends it)",
        file=sys.stderr,
    )


def _emit_nothing(event: str, /, **fields: Any) -> None:
    """Log nothing: the wait has been reported, and its end is the command's error."""
