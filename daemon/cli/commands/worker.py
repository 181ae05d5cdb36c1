"""`campaignd worker`: execute the queued runs of a `postgres` target with a program."""

from __future__ import annotations

import asyncio
import secrets
import shlex
from typing import Annotated

import typer

from config.environment import command_environment
from config.errors import ConfigurationError
from config.settings import Settings
from daemon.cli.context import context_of
from daemon.cli.store import open_store
from daemon.domain.formatting import error_line
from daemon.runtime.clock import SystemClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.orphans import reap_orphans
from daemon.runtime.supervisor import Supervisor
from daemon.targets.command import CommandOptions, CommandTarget
from daemon.targets.registry import retry_policy_of
from daemon.telemetry.event_log import EventLog
from daemon.telemetry.log_setup import configure_log, get_logger, writing_in_background
from daemon.worker import Worker
from storage.leases import LeaseTable
from storage.run_results import RunResults


def worker(
    context: typer.Context,
    exec_: Annotated[
        str,
        typer.Option(
            "--exec",
            metavar="CMD",
            help="The program and its arguments, without a shell.",
            show_default=False,
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            "--target", help="The target of type postgres; required if there are several."
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, max=1000, help="Number of runs at once.")
    ] = 1,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds after which a run is stopped.")
    ] = 3600.0,
) -> int:
    """Execute the queued runs of a postgres target.

    CMD is started for each run, which is JSON on its standard input. Its exit status decides: 0
    completed, 75 retry, any other failed. SIGTERM and SIGINT let runs in flight end.
    """
    options = context_of(context)
    settings = options.read_settings()
    argv = shlex.split(exec_)
    if not argv:
        raise typer.BadParameter("must name a program", param_hint="--exec")
    name = _choose_target(settings, target)
    identity = f"{settings.node_name}-worker-{secrets.token_hex(3)}"
    configure_log(settings.log.level, settings.log.format, identity)
    emit = EventLog(get_logger())
    options.log_exposed_files(emit)

    async def run_worker(dsn: str) -> int:
        chosen = settings.targets[name]
        clock = SystemClock()
        supervisor = Supervisor(_ignore_reload)
        supervisor.handle_signals()
        async with open_store(
            settings, dsn, settings.scheduler.startup_timeout, privileged=True
        ) as store:
            service = Worker(
                LeaseTable(store.database, NodeIdentity(clock)),
                RunResults(store.database),
                CommandTarget(
                    CommandOptions(argv, environment=command_environment(), timeout=timeout), emit
                ),
                worker_name=identity,
                target_name=name,
                policy=retry_policy_of(chosen),
                concurrency=concurrency,
                lease=chosen.lease,  # type: ignore[union-attr]
                poll=settings.scheduler.poll,
                drain=settings.scheduler.drain_timeout,
                clock=clock,
                health=DatabaseHealth(emit, clock),
                emit=emit,
            )
            await service.start()
            emit("worker_ready", target=name, concurrency=concurrency)
            failed = await supervisor.watch([service])
            if failed is not None:
                emit(
                    "service_failed",
                    service=failed[0].name,
                    error=error_line(failed[1]),
                )
                return 1
            await service.stop()
            emit("stopped")
            return 0

    with writing_in_background(), options.provide_database(settings, emit) as dsn:
        reap_orphans()
        return asyncio.run(run_worker(dsn))


async def _ignore_reload() -> None:
    """Do nothing at SIGHUP: a worker reads its configuration once."""


def _choose_target(settings: Settings, wanted: str | None) -> str:
    names = sorted(name for name, target in settings.targets.items() if target.type == "postgres")
    if wanted is not None and wanted in names:
        return wanted
    if wanted is None and len(names) == 1:
        return names[0]
    problem = "--target is required" if wanted is None else f"--target is invalid: {wanted!r}"
    allowed = ", ".join(names) or "none"
    raise ConfigurationError([f"{problem}; the targets of type postgres are: {allowed}"])
