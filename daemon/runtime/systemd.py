"""Tell systemd how far the daemon is: the sd_notify protocol over a datagram socket.

The environment is read in `config`: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are handed
in. Without a socket every call is silent, and a service manager that does not listen never stops
the daemon.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

_SEND_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class SystemdNotifier:
    """Messages to the service manager; `address` is `NOTIFY_SOCKET`, None or empty: no messages."""

    address: str | None = None

    def ready(self, status: str = "") -> bool:
        """The daemon serves, after a start or a reload."""
        return self._send("READY=1", status)

    def reloading(self, status: str = "") -> bool:
        """The configuration is being read again; `ready` has to follow."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}", status)

    def stopping(self, status: str = "") -> bool:
        """The daemon drains."""
        return self._send("STOPPING=1", status)

    def status(self, status: str) -> bool:
        """One line for `systemctl status`."""
        return self._send("", status)

    def watchdog(self) -> bool:
        """The daemon is alive; to be sent more often than `watchdog_interval`."""
        return self._send("WATCHDOG=1")

    def _send(self, message: str, status: str = "") -> bool:
        """Whether the message was handed over."""
        if not self.address:
            return False
        lines = [message] if message else []
        if status:
            lines.append("STATUS=" + " ".join(status.split()))
        # A leading @ stands for the zero byte of the abstract name space.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as client:
                client.settimeout(_SEND_TIMEOUT_S)
                client.connect(address)
                client.sendall("\n".join(lines).encode("utf-8", "replace"))
        except OSError:
            return False
        return True


def watchdog_interval(watchdog_usec: str | None, watchdog_pid: str | None = None) -> float | None:
    """Seconds between two `watchdog` messages; None when systemd does not watch this process.

    It is half of what systemd allows (`WATCHDOG_USEC`), as sd_watchdog_enabled(3) advises.
    """
    try:
        allowed = int(watchdog_usec or "0")
        watched = int(watchdog_pid or os.getpid())
    except ValueError:
        return None
    if allowed <= 0 or watched != os.getpid():
        return None
    return allowed / 2_000_000
