"""Signals that arrive before the command handles them itself, from the program's first import on.

This module imports little, because the rest of the command line takes a moment to import.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

_WITH_VALUE = frozenset(
    {"--config", "--server", "--key-file", "--timeout", "--output", "-o", "--tz"}
)
"""The global options that the next word belongs to."""
SERVICES = frozenset({"run", "api", "worker"})
"""Commands that run until a signal ends them, which is then no failure."""


def handle_early_signals(arguments: Sequence[str]) -> None:
    """Let SIGTERM unwind the stack, so that an embedded database is stopped as well.

    A service also ends so at SIGINT, and with exit code 0; signals that have no meaning for it do
    not end it. A handler that is set already stays.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    command = _command_name(arguments)
    if command not in SERVICES:
        _set_handler_unless_set(signal.SIGTERM, _exit_with_signal_status)
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        _set_handler_unless_set(number, _exit_successfully)
    # A service that has not read its configuration yet has nothing to read again.
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        _set_handler_unless_set(
            number, _ignore_signal
        )  # a handler, because programs inherit SIG_IGN


def _command_name(arguments: Sequence[str]) -> str | None:
    """Return the first word that is neither a global option nor its value."""
    words = iter(arguments)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def _set_handler_unless_set(number: signal.Signals, handler: object) -> None:
    if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
        signal.signal(number, handler)  # type: ignore[arg-type]


def _exit_successfully(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)


def _exit_with_signal_status(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def _ignore_signal(_number: int, _frame: object) -> None:
    """Do nothing."""
