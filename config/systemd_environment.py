"""What systemd tells the process through its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SystemdEnvironment:
    """`sd_notify` and watchdog, None outside a service of type notify; and where the journal is."""

    notify_socket: str | None = None
    watchdog_usec: str | None = None
    watchdog_pid: str | None = None
    journal_stream: str | None = None


def take_systemd_environment(environ: Mapping[str, str] | None = None) -> SystemdEnvironment:
    """Read it. From `os.environ`, the default, it is taken: child processes do not inherit it."""
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM")
    if environ is None:
        return SystemdEnvironment(*(os.environ.pop(name, None) for name in names))
    return SystemdEnvironment(*(environ.get(name) for name in names))
