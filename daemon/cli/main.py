"""The program `campaignd`: global options, error lines, exit codes.

Exit codes:

- 0 success
- 1 the checked thing is not as it should be
- 2 wrong usage or configuration
- 3 database unreachable
- 4 schema out of date, or a database that campaignd cannot or may not use
- 130 interrupted

An exception class sets its own code as `exit_code`, and its advice as `hint`.
"""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from campaignd import __version__
from daemon.cli.context import CommandContext, command_line_actor
from daemon.cli.early_signals import handle_early_signals
from daemon.cli.lazy_group import BROKEN_PIPE, LazyGroup, discard_output
from daemon.cli.options import (
    ConfigOption,
    DebugOption,
    JsonOption,
    KeyFileOption,
    OutputOption,
    ServerOption,
    TimeoutOption,
    UtcOption,
    WideOption,
    ZoneOption,
)
from daemon.domain.audit import ORIGIN, Origin
from daemon.domain.errors import CampaigndError

USAGE = 2
INTERRUPTED = 130

app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"campaignd {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    config: ConfigOption = None,
    debug: DebugOption = False,
    server: ServerOption = None,
    key_file: KeyFileOption = None,
    timeout: TimeoutOption = None,
    output: OutputOption = None,
    json: JsonOption = False,
    wide: WideOption = False,
    utc: UtcOption = False,
    tz: ZoneOption = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """A daemon that carries out campaigns when they are due.

    The options below are accepted before the command's name and after it.
    """
    context.obj = CommandContext(
        *(config, debug, server, key_file, timeout), *(output, json, wide, utc, tz)
    )
    context.obj.choose_zone_data()
    ORIGIN.set(Origin(command_line_actor(), command=f"campaignd {context.invoked_subcommand}"))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the arguments name, and exit with its code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    handle_early_signals(arguments)
    code = invoke(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        code = BROKEN_PIPE
    sys.exit(code)


def invoke(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; print errors to standard error.

    Returns:
        The exit code.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal's encoding lacks becomes a question mark, not an error.
        sys.stdout.reconfigure(errors="replace")
    try:
        result = get_command(app)(
            args=list(arguments), prog_name="campaignd", standalone_mode=False
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return _report_error(error)
    return result if isinstance(result, int) else 0


def _report_error(error: BaseException) -> int:
    """Print one line for each problem; return the exit code."""
    error = next((inner for inner in _leaf_errors(error) if hasattr(inner, "exit_code")), error)
    hint = getattr(error, "hint", None)
    code = getattr(error, "exit_code", 1)
    if type(error).__name__ == "NoArgsIsHelpError":
        # A group without a subcommand: its help, as for --help, but not as a success.
        print(error.format_message(), file=sys.stderr)  # type: ignore[attr-defined]
        return USAGE
    if isinstance(problems := getattr(error, "problems", None), tuple):
        texts = [str(problem) for problem in problems]
    elif callable(format_message := getattr(error, "format_message", None)):  # a usage error
        texts = [format_message()]
        hint = _usage_hint(error)
    elif isinstance(error, CampaigndError) or hasattr(error, "exit_code"):
        texts = [str(error)]
    elif isinstance(error, OSError) and error.filename is not None:
        texts = [f"{error.filename}: {error.strerror}"]
        code = USAGE
    elif isinstance(error, typer.Abort):
        texts = ["aborted"]
    else:
        texts = [f"unexpected {type(error).__name__}: {error}"]
        hint = "This is a bug in campaignd. Re-run with `campaignd --debug ...` for the traceback."
    for text in texts:
        print(f"campaignd: error: {_one_line(text)}", end="", file=sys.stderr)
        print(f" ({_one_line(hint)})" if hint else "", file=sys.stderr)
    return code if isinstance(code, int) else 1


def _leaf_errors(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors inside exception groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaf_errors(inner)
    else:
        yield error


def _usage_hint(error: Any) -> str:
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "campaignd") if context else "campaignd"
    return f"see {path} --help"


def _one_line(text: str) -> str:
    return " ".join(text.split())
