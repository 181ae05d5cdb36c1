"""The table of commands, and the group that imports a command when it is invoked.

Add a command in two steps. Write a Typer function, or a `typer.Typer` for a group of commands, in a
module under `daemon/cli/commands/`. Then add a row to `COMMANDS`. The function declares
`context: typer.Context`, whose `obj` is a `CommandContext`, and returns the exit code (None means
0).
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from daemon.cli.options import share_options
from daemon.cli.suggestions import suggestion
from daemon.runtime.garbage import kept_from_collection


class CommandRow(NamedTuple):
    """One command: where it is defined, and the first sentence of its help."""

    location: str
    """`module:attribute`, relative to `daemon.cli.commands`."""
    help: str


COMMANDS: dict[str, CommandRow] = {
    name: CommandRow(location, text)
    for name, location, text in (
        ("run", "run:run", "Run the daemon in the foreground."),
        ("demo", "demo.demo:demo", "Run a campaign of every type on a database of its own."),
        (
            "check",
            "check:check",
            "Check the configuration, database, schema and targets.",
        ),
        ("db", "db:db", "Upgrade the schema, print roles, run PostgreSQL's programs."),
        ("preview", "preview:preview", "Compute when schedules would run, from JSON lines."),
        ("import", "import_:import_", "Load campaigns in bulk from JSON lines."),
        ("export", "export:export", "Write every campaign as a JSON line for `import`."),
        ("init", "init:init", "Write a configuration, and check it."),
        ("create", "create:create", "Create a campaign, and arm its schedule."),
        ("campaigns", "campaigns:campaigns", "List campaigns, newest first."),
        ("list", "campaigns:campaigns", "List campaigns, newest first."),
        ("show", "show:show", "Show one campaign."),
        ("schedule", "schedule:schedule", "Save, clear or preview a campaign's schedule."),
        ("edit", "edit:edit", "Change a campaign and its schedule, also in an editor."),
        ("copy", "manage:copy", "Copy a campaign with its schedule, as a draft."),
        ("rename", "manage:rename", "Rename a campaign."),
        ("delete", "manage:delete", "Delete campaigns and their history."),
        ("run-now", "manage:run_now", "Run live campaigns once, now, beside their schedules."),
        ("pause", "lifecycle:pause", "Pause campaigns, so that they start no new run."),
        ("start", "lifecycle:start", "Start draft campaigns, or resume paused ones."),
        ("stop", "lifecycle:stop", "Cancel campaigns and their open runs."),
        ("rerun", "lifecycle:rerun", "Run ended campaigns again, now."),
        ("archive", "lifecycle:archive", "Archive campaigns."),
        ("unarchive", "lifecycle:unarchive", "Restore archived campaigns."),
        ("runs", "runs:runs", "List runs, newest first."),
        ("retry", "retry:retry", "Retry a failed run now."),
        ("held", "held:held", "List the runs that wait for an operator."),
        ("release", "held:release", "Release held runs, so that they start now, or fail one."),
        ("drop", "held:drop", "Drop runs that are held before their first attempt."),
        ("freeze", "freeze:freeze", "Let nothing begin any more, on any node."),
        ("thaw", "freeze:thaw", "End a freeze."),
        ("upcoming", "upcoming:upcoming", "List upcoming events, soonest first."),
        ("agenda", "agenda:agenda", "Draw a week or a month of runs."),
        ("explain", "explain:explain", "Explain why a campaign ran at an instant, or did not."),
        ("prune", "prune:prune", "Delete ended runs and events that are old enough."),
        ("targets", "targets:targets", "List the configured targets."),
        ("target", "targets:target", "Try a target."),
        ("listen", "listen:listen", "Receive webhooks, verify their signatures, and print them."),
        ("worker", "worker:worker", "Execute the queued runs of a postgres target."),
        ("status", "status:status", "Show nodes, lag and open runs."),
        ("api", "api:api", "Serve the HTTP API without a scheduler."),
        ("health", "health:health", "Check whether the local node is healthy."),
        ("completion", "completion:completion", "Print a shell completion script."),
        ("audit", "audit:audit", "Check that every due occurrence has exactly one run."),
        ("audit-log", "audit_log:audit_log", "List who changed what, newest first."),
        ("open", "open_:open_", "Print a link that opens the console, logged in."),
        ("keys", "keys:keys", "Create, list, rotate and revoke API keys."),
    )
}
"""Every command, in the order of `campaignd --help`."""

BROKEN_PIPE = 141
"""Exit code after a broken pipe, as a shell reports a program that SIGPIPE ended."""


class LazyGroup(TyperGroup):
    """The group of all commands, after Click's recipe "Lazily Loading Subcommands".

    Click's recipe imports every command to list them. Here the group holds a stand-in for each,
    with its name and the first sentence of its help: `--help`, completion and suggestions for
    misspelt names need no more, and importing everything takes 0.7 s. Only the command that is
    invoked is loaded.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, row in COMMANDS.items():
            self.add_command(TyperCommand(name, help=row.help, short_help=row.help))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace the stand-in of the named command by the command itself."""
        word = args[0]
        try:
            name, command, rest = super().resolve_command(ctx, args)
        except Exception as error:
            if word not in COMMANDS and hasattr(error, "message"):  # a usage error
                suggested = suggestion(word, COMMANDS)
                hint = f"; did you mean `{suggested}`?" if suggested else ""
                error.message = f"there is no command {word!r}{hint}"
            raise
        return name, command and load_command(word), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; end without a message when the reader of its output has gone."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            discard_output()
            return BROKEN_PIPE


def load_command(name: str) -> Any:
    """Import a command, and return it as a Click command or group."""
    module, _, attribute = COMMANDS[name].location.partition(":")
    with kept_from_collection():
        found = getattr(importlib.import_module(f"daemon.cli.commands.{module}"), attribute)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        for command in found.registered_commands:
            command.callback = command.callback and share_options(command.callback)
        app.add_typer(found, name=name)
    else:
        app.command(name)(share_options(found))
    return get_group(app).commands[name]


def discard_output() -> None:
    """Send the rest of standard output's buffer to /dev/null, so that the exit stays silent."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
