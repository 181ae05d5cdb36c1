"""sd_notify against a real datagram socket."""

from __future__ import annotations

import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.runtime.systemd import SystemdNotifier, watchdog_interval


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, str]]:
    """A socket as systemd has it, and what NOTIFY_SOCKET would say."""
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract sockets are Linux's")
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server,
    ):
        address = str(Path(folder, "notify"))
        if request.param == "abstract":
            address = f"@campaignd-test-{os.getpid()}"
        server.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        server.settimeout(60)
        yield server, address


def test_messages(manager: tuple[socket.socket, str]) -> None:
    """Each call is one datagram of the protocol."""
    server, address = manager
    notifier = SystemdNotifier(address)
    assert notifier.ready("serving\nREADY=0")
    assert server.recv(1000) == b"READY=1\nSTATUS=serving READY=0"
    assert notifier.stopping()
    assert server.recv(1000) == b"STOPPING=1"
    assert notifier.status("draining, 3 runs")
    assert server.recv(1000) == b"STATUS=draining, 3 runs"
    assert notifier.watchdog()
    assert server.recv(1000) == b"WATCHDOG=1"
    assert notifier.reloading("again")
    message = server.recv(1000).decode()
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=again", message)


@pytest.mark.parametrize("address", [None, "", "/not/there", "/" + "x" * 300])
def test_without_a_listener(address: str | None) -> None:
    """Silence, and the daemon goes on."""
    assert not SystemdNotifier(address).ready("serving")


def test_a_manager_that_does_not_read(
    manager: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full queue costs a moment, not the daemon."""
    monkeypatch.setattr("daemon.runtime.systemd._SEND_TIMEOUT_S", 0.001)
    notifier = SystemdNotifier(manager[1])
    assert not all(notifier.status("x" * 1000) for _ in range(10_000))


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        (None, None, None),
        ("", "", None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
        ("30000000", None, 15.0),
        ("30000000", "ours", 15.0),
        ("30000000", "1", None),
        ("30000000", "me", None),
    ],
)
def test_watchdog_interval(usec: str | None, pid: str | None, expected: float | None) -> None:
    """Half of what is allowed, for the process that is watched."""
    pid = str(os.getpid()) if pid == "ours" else pid
    assert watchdog_interval(usec, pid) == expected
