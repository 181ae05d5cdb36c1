"""`campaignd run`: the options; the work is `daemon.cli.commands.run`'s."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.cli.commands.run import run_daemon


def run(
    context: typer.Context,
    no_api: Annotated[
        bool, typer.Option("--no-api", help="Serve no HTTP, whatever the settings say.")
    ] = False,
) -> int:
    """Fire campaigns until SIGTERM or SIGINT, which drain; SIGHUP reads the configuration again."""
    return run_daemon(context.obj, no_api)
