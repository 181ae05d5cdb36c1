"""Two commands without the command line's full reader, where nothing but the usual is asked.

That reader and what it brings along take longer to load than most of what is asked of `preview`,
and would stay in a daemon's memory as long as it lives. Help, mistakes and everything unusual are
left to `daemon.cli.parsing`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from daemon.cli.context import CommandContext
from daemon.cli.lazy_group import quiet_pipe


def plain_command(arguments: Sequence[str]) -> Callable[[], int] | None:
    """`run [--no-api]` or `preview [FILE]`, behind the global options; None: read it in full."""
    config, debug = None, False
    rest = iter(arguments)
    for argument in rest:
        if argument in ("run", "preview"):
            options = list(rest)
            read = _run if argument == "run" else _preview
            return read(CommandContext(None if config is None else Path(config), debug), options)
        name, equals, value = argument.partition("=")
        if name == "--config":
            config = value if equals else next(rest, "")
            if not config or config.startswith("-"):
                return None
        elif argument == "--debug":
            debug = True
        else:
            return None
    return None


def _run(invocation: CommandContext, options: list[str]) -> Callable[[], int] | None:
    if set(options) - {"--no-api"}:
        return None
    from daemon.cli.commands.run import run_daemon

    return partial(run_daemon, invocation, bool(options))


def _preview(_invocation: CommandContext, options: list[str]) -> Callable[[], int] | None:
    (file, *more) = options or ["-"]
    if more or not file or (file.startswith("-") and file != "-"):
        return None
    from daemon.cli.commands.preview import preview_file

    return partial(quiet_pipe(preview_file), Path(file), False)
