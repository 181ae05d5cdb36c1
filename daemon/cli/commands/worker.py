"""`campaignd worker`: carries out the runs of a `postgres` target with a program of yours."""

from __future__ import annotations

import asyncio
import secrets
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from config.command_environment import command_environment
from config.errors import ConfigurationError
from daemon.cli.opening import context_of, wait_for_database
from daemon.runtime.clock import SystemClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.supervisor import Supervisor
from daemon.targets.command import CommandOptions as CommandSettings
from daemon.targets.command import CommandTarget
from daemon.targets.registry import policy_of
from daemon.telemetry.event_log import EventLog
from daemon.telemetry.log_setup import configure, get_logger
from daemon.worker import Worker
from storage.engine import Database
from storage.leases import LeaseTable
from storage.run_results import RunResults
from storage.schema import require_schema

if TYPE_CHECKING:
    from config.settings import Settings


def worker(
    context: typer.Context,
    exec_: Annotated[
        str,
        typer.Option("--exec", metavar="CMD", help="The program and its arguments; no shell."),
    ],
    target: Annotated[
        str | None,
        typer.Option("--target", help="The target of type postgres; needed if there are several."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, max=1000, help="Runs at once.")
    ] = 1,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds that a run may take.")
    ] = 3600.0,
) -> int:
    """Take runs that wait, start CMD for each with the run as JSON on its standard input.

    Exit status 0: done; 75: try again; anything else: failed. SIGTERM and SIGINT let what is under
    way end.
    """
    invocation = context_of(context)
    settings = invocation.settings()
    argv = shlex.split(exec_)
    if not argv:
        raise typer.BadParameter("it names no program", param_hint="--exec")
    name = _target_name(settings, target)
    identity = f"{settings.node_name}-worker-{secrets.token_hex(3)}"
    configure(settings.log.level, settings.log.format, identity)
    emit = EventLog(get_logger())

    async def serve(dsn: str) -> int:
        database = Database(
            dsn,
            pool_size=2,
            pool_timeout=settings.database.pool_timeout,
            prepare=settings.listen_database_url is None,
        )
        chosen = settings.targets[name]
        clock = SystemClock()
        supervisor = Supervisor(_nothing)
        supervisor.install()
        try:
            await wait_for_database(database, dsn, settings.scheduler.startup_timeout)
            async with database.statement() as connection:
                await require_schema(connection)
            service = Worker(
                LeaseTable(database),
                RunResults(database),
                CommandTarget(
                    CommandSettings(argv, environment=command_environment(), timeout=timeout), emit
                ),
                name=identity,
                target=name,
                policy=policy_of(chosen),
                concurrency=concurrency,
                lease=chosen.lease,  # type: ignore[union-attr]
                poll=settings.scheduler.poll,
                drain=settings.scheduler.drain_timeout,
                clock=clock,
                link=DatabaseHealth(emit, clock),
                emit=emit,
            )
            await service.start()
            emit("worker_ready", target=name, concurrency=concurrency)
            failed = await supervisor.watch([service])
            if failed is not None:
                emit(
                    "service_failed",
                    service=failed[0].name,
                    error=f"{type(failed[1]).__name__}: {failed[1]}",
                )
                return 1
            await service.stop()
            emit("stopped")
            return 0
        finally:
            await database.close()

    with invocation.database(settings, emit) as dsn:
        return asyncio.run(serve(dsn))


async def _nothing() -> None:
    """A worker reads its configuration once."""


def _target_name(settings: Settings, wanted: str | None) -> str:
    there = sorted(name for name, each in settings.targets.items() if each.type == "postgres")
    if wanted is not None and wanted in there:
        return wanted
    if wanted is None and len(there) == 1:
        return there[0]
    found = ", ".join(there) or "none"
    what = "--target is needed" if wanted is None else f"{wanted!r} is no such target"
    raise ConfigurationError([f"{what}; targets of type postgres are: {found}"])
