"""The command line as Typer reads it: the options before the command, and the command itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daemon import __version__
from daemon.cli.context import CommandContext
from daemon.cli.lazy_group import register


def parser(wanted: str | None) -> typer.Typer:
    """What reads a command line that asks for this command."""
    app = typer.Typer(
        name="campaignd",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    register(app, wanted)
    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"campaignd {__version__}")
        raise typer.Exit


def _global_options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The TOML file with the settings.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """A daemon that carries out campaigns when they are due."""
    context.obj = CommandContext(config, debug)
