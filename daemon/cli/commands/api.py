"""`campaignd api`: the HTTP interface alone, without a scheduler."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from config.systemd_environment import take_systemd_environment
from daemon.cli.opening import context_of
from daemon.telemetry.event_log import EventLog
from daemon.telemetry.log_setup import configure, get_logger

if TYPE_CHECKING:
    from config.settings import Settings


def api(context: typer.Context) -> int:
    """Answer HTTP until SIGTERM or SIGINT; campaigns are fired by other nodes.

    SIGHUP reads the configuration again.
    """
    invocation = context_of(context)
    settings = invocation.settings()
    journal_stream = take_systemd_environment().journal_stream

    def apply_log(given: Settings) -> None:
        log = given.log
        configure(log.level, log.format, settings.node_name, journal_stream=journal_stream)

    apply_log(settings)
    emit = EventLog(get_logger())
    # Imported late: a wrong configuration is told before the web framework is loaded.
    from daemon.api_wiring import serve_alone

    with invocation.database(settings, emit, create=True) as dsn:
        serving = serve_alone(settings, dsn, emit, reload=invocation.settings, apply_log=apply_log)
        return asyncio.run(serving)
