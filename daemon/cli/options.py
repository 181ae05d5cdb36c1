"""Options that commands share: they are accepted before the command's name and after it.

`share_options` adds them to a command when it is loaded. A command that prints rows or values is
marked with `displays`, and gets the options of the output too.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from daemon.cli.context import context_of
from daemon.cli.screen import Output, printing_to

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="PATH", help="The TOML file with the settings.")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="Work over HTTP: the URL of a daemon, or a profile; default: CAMPAIGND_SERVER.",
    ),
]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="The API key for --server; default: CAMPAIGND_KEY_FILE, or that of the profile.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.1,
        max=3600,
        help="How long a command waits for the database; default: 5.",
    ),
]
OutputOption = Annotated[
    Output | None, typer.Option("--output", "-o", help="The form of the output; default: table.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object a line, as -o json does.")
]
WideOption = Annotated[
    bool, typer.Option("--wide", help="Print whole ids and long lines, whatever the terminal is.")
]
UtcOption = Annotated[bool, typer.Option("--utc", help="Show instants in UTC, in ISO 8601.")]
ZoneOption = Annotated[
    str | None,
    typer.Option(
        "--tz",
        metavar="ZONE",
        help="Show times in this zone; default on a terminal: a campaign's own, or this machine's.",
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_GENERAL: dict[str, tuple[Any, Any]] = {
    "config": (ConfigOption, None),
    "debug": (DebugOption, False),
    "server": (ServerOption, None),
    "key_file": (KeyFileOption, None),
    "timeout": (TimeoutOption, None),
}
_DISPLAY: dict[str, tuple[Any, Any]] = {
    "output": (OutputOption, None),
    "json": (JsonOption, False),
    "wide": (WideOption, False),
    "utc": (UtcOption, False),
    "tz": (ZoneOption, None),
}


def displays(command: CommandT) -> CommandT:
    """Mark a command that prints rows or values, in the form that the options ask for."""
    command.__dict__["displays"] = True
    return command


def share_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the command with the shared options, which it need not know."""
    if getattr(command, "shares_options", False):
        return command
    signature = inspect.signature(command, eval_str=True)
    own = signature.parameters
    wanted = {name: _hidden(*option) for name, option in _GENERAL.items()}
    if getattr(command, "displays", False):
        wanted |= _DISPLAY
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=of)
        for name, (of, default) in wanted.items()
        if name not in own
    ]
    takes_context = "context" in own
    if not takes_context:
        added.append(
            inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        )

    @functools.wraps(command)
    def run(**values: Any) -> Any:
        context = values["context"] if takes_context else values.pop("context")
        given = {option.name: values.pop(option.name) for option in added if option.name in values}
        options = context_of(context)
        options.add(given)
        with printing_to(options.screen()):
            return command(**values)

    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own.values()]
    run.__signature__ = signature.replace(parameters=[*parameters, *added])  # type: ignore[attr-defined]
    run.__dict__["shares_options"] = True
    return run


def _hidden(annotation: Any, default: Any) -> tuple[Any, Any]:
    """Return an option that the help of a command does not repeat."""
    of, option = annotation.__args__[0], annotation.__metadata__[0]
    quiet = typer.Option(
        *(option.param_decls or (option.default,)),
        metavar=option.metavar,
        min=option.min,
        max=option.max,
        help=option.help,
        hidden=True,
    )
    return Annotated[of, quiet], default
