"""The table of commands, and how one of them is loaded.

To add a command: write `daemon/cli/NAME.py` with a Typer function (or a `typer.Typer` for a group
of commands) and add a row here. The function takes `context: typer.Context`, whose `obj` is an
`Invocation`, beside its own parameters, and returns the exit code (None: 0). Modules are imported
when their command is asked for; help comes from the table.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("daemon.cli.run_command:run", "The daemon, in the foreground."),
    "demo": (
        "daemon.cli.commands.demo.demo:demo",
        "Everything, on a database of its own: watch it run.",
    ),
    "check": (
        "daemon.cli.commands.check:check",
        "Whether everything is there that the daemon needs.",
    ),
    "db": (
        "daemon.cli.commands.db:db",
        "The schema, and PostgreSQL's own programs on the database.",
    ),
    "preview": (
        "daemon.cli.preview_command:preview",
        "Say when schedules would run: JSON lines in and out.",
    ),
    "import": (
        "daemon.cli.commands.import_:import_",
        "Load campaigns in bulk, one JSON object a line.",
    ),
    "export": (
        "daemon.cli.commands.export:export",
        "Dump every campaign; what it writes loads again.",
    ),
    "campaigns": ("daemon.cli.commands.campaigns:campaigns", "List campaigns, newest first."),
    "show": ("daemon.cli.commands.show:show", "Show one campaign."),
    "schedule": (
        "daemon.cli.commands.schedule:schedule",
        "Save, clear or try a campaign's schedule.",
    ),
    "pause": ("daemon.cli.commands.lifecycle:pause", "Start nothing new of a campaign."),
    "start": ("daemon.cli.commands.lifecycle:start", "Arm a campaign, or resume it."),
    "stop": ("daemon.cli.commands.lifecycle:stop", "Cancel a campaign, with its open runs."),
    "rerun": ("daemon.cli.commands.lifecycle:rerun", "Run a campaign that has ended once more."),
    "archive": ("daemon.cli.commands.lifecycle:archive", "Put a campaign away."),
    "unarchive": ("daemon.cli.commands.lifecycle:unarchive", "Bring a campaign back."),
    "runs": ("daemon.cli.commands.runs:runs", "List runs, newest first."),
    "retry": ("daemon.cli.commands.retry_release:retry", "Try a failed run again."),
    "release": (
        "daemon.cli.commands.retry_release:release",
        "Let a held run go on its way, or fail it.",
    ),
    "upcoming": ("daemon.cli.commands.upcoming:upcoming", "List what comes next."),
    "explain": (
        "daemon.cli.commands.explain:explain",
        "Why a campaign ran at an instant, or did not.",
    ),
    "prune": ("daemon.cli.commands.prune:prune", "Delete history older than it has to be kept."),
    "worker": ("daemon.cli.commands.worker:worker", "Carry out runs that wait in the table."),
    "status": ("daemon.cli.commands.status:status", "Nodes, lag and open runs."),
    "api": ("daemon.cli.commands.api:api", "The HTTP interface alone, without a scheduler."),
    "health": (
        "daemon.cli.commands.health:health",
        "Whether the daemon here is well, and if not, why.",
    ),
    "completion": ("daemon.cli.completion:completion", "What a shell needs to complete this."),
    "keys": ("daemon.cli.commands.keys:keys", "Who may call the HTTP interface."),
}
"""Name to ("module:attribute", help); the order is that of `campaignd --help`."""

BROKEN_PIPE = 141
"""As a shell shows a program that SIGPIPE ended."""


def register(app: typer.Typer, wanted: str | None) -> None:
    """Put every command into `app`: `wanted` for real, of the others only name and help."""
    from typer import Typer

    for name, (where, text) in COMMANDS.items():
        if name != wanted:
            app.command(name, help=text)(_not_loaded)
            continue
        module, _, attribute = where.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, Typer):
            for row in found.registered_commands:
                if row.callback is not None:
                    row.callback = quiet_pipe(row.callback)
            app.add_typer(found, name=name, help=text)
        else:
            app.command(name, help=text)(quiet_pipe(found))


def _not_loaded() -> None:
    raise AssertionError("only the wanted command is invoked")


def quiet_pipe(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same command, ending without a word when whoever reads its output has left."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            discard_output()
            return BROKEN_PIPE

    return run


def discard_output() -> None:
    """Send what is still in standard output's buffer nowhere, so that the exit stays silent."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
