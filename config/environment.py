"""Environment variables that are no settings: systemd's, and those that programs inherit.

Command targets inherit a few variables by name, never `CAMPAIGND_*`: settings may hold secrets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR")
"""Variables that command targets inherit, besides those that begin with `LC_`."""


@dataclass(frozen=True)
class SystemdEnvironment:
    """Variables of a systemd service, each None where systemd did not set it.

    `notify_socket` is for `sd_notify`, `watchdog_usec` and `watchdog_pid` are for the watchdog;
    `journal_stream` identifies the journal.
    """

    notify_socket: str | None = None
    watchdog_usec: str | None = None
    watchdog_pid: str | None = None
    journal_stream: str | None = None


def take_systemd_environment(environ: Mapping[str, str] | None = None) -> SystemdEnvironment:
    """Return systemd's variables.

    Args:
        environ: the environment. By default the variables are removed from `os.environ`, so that
            child processes do not inherit them.
    """
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM")
    if environ is None:
        return SystemdEnvironment(*(os.environ.pop(name, None) for name in names))
    return SystemdEnvironment(*(environ.get(name) for name in names))


def command_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that a command target inherits, from `os.environ` by default."""
    environ = os.environ if environ is None else environ
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED or name.startswith("LC_")
    }


def terminal_has_colours(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether the user of a terminal wants colours (no-color.org), and it has some."""
    environ = os.environ if environ is None else environ
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def editor_command(environ: Mapping[str, str] | None = None) -> str:
    """Return the editor that the user chose, with its arguments; vi by default."""
    environ = os.environ if environ is None else environ
    return environ.get("VISUAL") or environ.get("EDITOR") or "vi"


def whole_environment() -> dict[str, str]:
    """Return all variables, for a program that the operator named on the command line."""
    return dict(os.environ)
