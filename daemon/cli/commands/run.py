"""`campaignd run`: the daemon in the foreground."""

from __future__ import annotations

import asyncio
import faulthandler
from typing import Annotated, Any

import typer

from config.environment import take_systemd_environment
from config.settings import Settings
from daemon.app import Daemon
from daemon.cli.context import context_of
from daemon.runtime.descriptors import raise_open_file_limit
from daemon.runtime.orphans import reap_orphans
from daemon.runtime.systemd import SystemdNotifier, watchdog_interval
from daemon.telemetry.event_log import EventLog
from daemon.telemetry.log_setup import configure_log, get_logger, writing_in_background
from daemon.wiring import ProcessContext


def run(
    context: typer.Context,
    no_api: Annotated[
        bool, typer.Option("--no-api", help="Serve no HTTP, whatever the setting api.enabled is.")
    ] = False,
) -> int:
    """Run the daemon in the foreground.

    SIGTERM and SIGINT drain the runs in flight and stop; a second one stops at once. SIGHUP reads
    the configuration again.
    """
    options = context_of(context)
    systemd = take_systemd_environment()
    flags: dict[str, Any] = {"api__enabled": False} if no_api else {}
    settings = options.read_settings(**flags)
    raise_open_file_limit()
    notifier = SystemdNotifier(systemd.notify_socket)
    sign_every = watchdog_interval(systemd.watchdog_usec, systemd.watchdog_pid)
    if sign_every is not None:
        # The watchdog ends a hung daemon by SIGABRT: leave a traceback of the place where it hung.
        faulthandler.enable()

    def apply_log(settings: Settings, node: str) -> None:
        log = settings.log
        configure_log(log.level, log.format, node, journal_stream=systemd.journal_stream)

    apply_log(settings, "")
    emit = EventLog(get_logger())
    options.log_exposed_files(emit)

    async def run_daemon(dsn: str) -> int:
        host = ProcessContext(
            settings=settings,
            dsn=dsn,
            emit=emit,
            reload=lambda: options.read_settings(**flags),
            apply_log=apply_log,
            notify=lambda what, *args: getattr(notifier, what)(*args),
            embedded=settings.database_url is None,
            sign_every=sign_every,
        )
        return await Daemon(host).run()

    with writing_in_background(), options.provide_database(settings, emit, create=True) as dsn:
        reap_orphans()
        return asyncio.run(run_daemon(dsn))
