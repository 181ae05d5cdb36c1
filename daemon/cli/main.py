"""The command `campaignd`: options before the command, errors as one line, exit codes.

Exit codes: 0 done; 1 the thing asked about is not so; 2 wrong usage or configuration; 3 database
unreachable; 4 schema out of date; 130 interrupted. An exception class brings its own as
`exit_code`, and advice as `hint`.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from daemon.cli.lazy_group import BROKEN_PIPE, COMMANDS, discard_output
from daemon.cli.plain import plain_command

USAGE = 2
INTERRUPTED = 130

_WITH_VALUE = ("--config",)
_RELOADED = ("run", "api")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command of the command line and exit."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if threading.current_thread() is threading.main_thread():
        _end_properly_on_sigterm()
        if _command(arguments) in _RELOADED:
            # Until it has read its configuration there is nothing to read again.
            signal.signal(signal.SIGHUP, lambda *_: None)
    code = run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        code = BROKEN_PIPE
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Errors are told on standard error."""
    try:
        if (plain := plain_command(arguments)) is not None:
            return plain()
        from daemon.cli.parsing import parser

        app = parser(_command(arguments))
        result = app(args=list(arguments), prog_name="campaignd", standalone_mode=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        return _tell(error)
    return result if isinstance(result, int) else 0


def _command(arguments: Sequence[str]) -> str | None:
    """The command among the arguments: the first that is no global option."""
    rest = iter(arguments)
    for argument in rest:
        if argument in _WITH_VALUE:
            next(rest, None)
        elif not argument.startswith("-"):
            return argument
    return None


def _tell(error: BaseException) -> int:
    """One line for each thing that is wrong; the exit code."""
    error = next((inner for inner in _leaves(error) if hasattr(inner, "exit_code")), error)
    hint = getattr(error, "hint", None)
    code = getattr(error, "exit_code", 1)
    if isinstance(problems := getattr(error, "problems", None), tuple):
        texts = [str(problem) for problem in problems]
    elif callable(format_message := getattr(error, "format_message", None)):
        texts = [format_message()]  # the command line could not be read
        hint = _usage_hint(error)
    elif _is_expected(error):
        texts = [str(error)]
    elif isinstance(error, OSError) and error.filename is not None:
        texts = [f"{error.filename}: {error.strerror}"]
        code = USAGE
    elif _is_abort(error):
        texts = ["aborted"]
    else:
        texts = [f"unexpected {type(error).__name__}: {error}"]
        hint = "this is a fault of campaignd; --debug before the command shows where"
    for text in texts:
        print(f"campaignd: error: {_one_line(text)}", end="", file=sys.stderr)
        print(f" ({_one_line(hint)})" if hint else "", file=sys.stderr)
    return code if isinstance(code, int) else 1


def _is_expected(error: BaseException) -> bool:
    from daemon.domain.errors import CampaigndError

    return isinstance(error, CampaigndError) or hasattr(error, "exit_code")


def _is_abort(error: BaseException) -> bool:
    typer = sys.modules.get("typer")  # who has not loaded it has raised nothing of it
    return typer is not None and isinstance(error, typer.Abort)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors that a task group has gathered, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _usage_hint(error: Any) -> str:
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "campaignd") if context else "campaignd"
    return f"see {path} --help"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _end_properly_on_sigterm() -> None:
    """Leave by the ordinary way out, so that an embedded database is stopped too."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)


__all__ = ["COMMANDS", "main", "run"]
