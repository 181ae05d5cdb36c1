"""Notify systemd of the daemon's state: the sd_notify protocol over a datagram socket.

The `config` package reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` and passes them in.
Without a socket every call does nothing. A service manager that does not listen never blocks the
daemon.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

_SEND_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class SystemdNotifier:
    """Messages to the service manager.

    Args:
        address: `NOTIFY_SOCKET`; None or empty: no messages are sent.
    """

    address: str | None = None

    def ready(self, status: str = "") -> bool:
        """Report that the daemon serves, after a start or a reload."""
        return self._send("READY=1", status)

    def reloading(self, status: str = "") -> bool:
        """Report that the configuration is being read again; `ready` must follow."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}", status)

    def stopping(self, status: str = "") -> bool:
        """Report that the daemon drains."""
        return self._send("STOPPING=1", status)

    def status(self, status: str) -> bool:
        """Send the line that `systemctl status` shows."""
        return self._send("", status)

    def watchdog(self) -> bool:
        """Send a sign of life; call this more often than `watchdog_interval`."""
        return self._send("WATCHDOG=1")

    def _send(self, message: str, status: str = "") -> bool:
        """Send a message; return whether the service manager received it."""
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
    """Return the seconds between two `watchdog` messages; None without a watchdog.

    The interval is half of `WATCHDOG_USEC`, as sd_watchdog_enabled(3) advises.
    """
    try:
        allowed = int(watchdog_usec or "0")
        watched = int(watchdog_pid or os.getpid())
    except ValueError:
        return None
    if allowed <= 0 or watched != os.getpid():
        return None
    return allowed / 2_000_000
