"""`campaignd api`: the HTTP API alone, without a scheduler."""

from __future__ import annotations

import asyncio

import typer

from config.environment import take_systemd_environment
from config.settings import Settings
from daemon.api_wiring import serve_api_alone
from daemon.cli.context import context_of
from daemon.runtime.descriptors import raise_open_file_limit
from daemon.telemetry.event_log import EventLog
from daemon.telemetry.log_setup import configure_log, get_logger, writing_in_background


def api(context: typer.Context) -> int:
    """Serve the HTTP API without a scheduler.

    Other nodes fire the campaigns. SIGTERM and SIGINT stop it; SIGHUP reads the configuration
    again.
    """
    options = context_of(context)
    settings = options.read_settings()
    raise_open_file_limit()
    journal_stream = take_systemd_environment().journal_stream

    def apply_log(given: Settings) -> None:
        log = given.log
        configure_log(log.level, log.format, settings.node_name, journal_stream=journal_stream)

    apply_log(settings)
    emit = EventLog(get_logger())
    options.log_exposed_files(emit)
    with writing_in_background(), options.provide_database(settings, emit, create=True) as dsn:
        serving = serve_api_alone(
            settings, dsn, emit, reload=options.read_settings, apply_log=apply_log
        )
        return asyncio.run(serving)
