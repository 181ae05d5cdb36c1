"""`campaignd run`: the daemon in the foreground."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
from typing import TYPE_CHECKING, Any

from config.systemd_environment import take_systemd_environment
from daemon.cli.context import CommandContext

if TYPE_CHECKING:
    from config.settings import Settings


def run_daemon(invocation: CommandContext, no_api: bool) -> int:
    """Run it until it is told to end; the exit code."""
    systemd = take_systemd_environment()
    flags: dict[str, Any] = {"api__enabled": False} if no_api else {}
    reading = invocation.reading(**flags)
    # What is imported stays: looking through it for garbage while it comes in finds none.
    gc.disable()
    from daemon.app import Daemon
    from daemon.runtime.systemd import SystemdNotifier, watchdog_interval
    from daemon.telemetry.event_log import EventLog
    from daemon.telemetry.log_setup import batch_writes, configure, get_logger
    from daemon.wiring import ProcessContext

    settings = reading.settings()
    gc.collect()
    gc.freeze()
    gc.enable()
    notifier = SystemdNotifier(systemd.notify_socket)
    sign_every = watchdog_interval(systemd.watchdog_usec, systemd.watchdog_pid)
    if sign_every is not None:
        # The watchdog ends a hung daemon by SIGABRT: leave behind where it hung.
        faulthandler.enable()

    def apply_log(settings: Settings, node: str) -> None:
        log = settings.log
        configure(log.level, log.format, node, journal_stream=systemd.journal_stream)

    apply_log(settings, "")
    emit = EventLog(get_logger())

    async def serve(dsn: str) -> int:
        batch_writes(asyncio.get_running_loop())
        host = ProcessContext(
            settings=settings,
            dsn=dsn,
            emit=emit,
            reload=lambda: invocation.reading(**flags).settings(),
            apply_log=apply_log,
            notify=lambda what, *args: getattr(notifier, what)(*args),
            embedded=settings.database_url is None,
            sign_every=sign_every,
        )
        return await Daemon(host).run()

    with invocation.database(settings, emit, create=True) as dsn:
        return asyncio.run(serve(dsn))
