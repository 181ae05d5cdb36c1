"""The limit of open files bounds the connections of clients."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys

import pytest

from config.settings import ApiSettings, Settings
from config.target_settings import CommandTargetSettings
from daemon.api_wiring import build_api_server, client_connections_allowed
from daemon.runtime import descriptors


def _settings(**api: int) -> Settings:
    command = CommandTargetSettings(type="command", argv=["/bin/true"], concurrency=20)
    return Settings(
        state_dir="/nowhere", node_name="n", api=ApiSettings(**api), targets={"c": command}
    )


def test_the_default_fits_a_common_limit() -> None:
    """1,024 files leave room for the pools, the targets and the clients, and for refusing some."""
    allowed = client_connections_allowed(_settings(), 1024)
    assert 500 < allowed <= 1024 - 128 - 64 - 20 - 20 * 4


@pytest.mark.parametrize(("limit", "allowed"), [(65_536, 1000), (40, 1)])
def test_the_bounds(limit: int, allowed: int) -> None:
    """The setting is never exceeded, and one client can always connect."""
    assert client_connections_allowed(_settings(), limit) == allowed


def test_a_lowered_number_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line has both numbers."""
    monkeypatch.setattr(descriptors, "open_file_limit", lambda: 1024)
    events = []
    settings = _settings(max_connections=5000)
    with socket.socket() as listening:
        build_api_server(
            lambda: settings, "", lambda name, **fields: events.append((name, fields)), listening
        )
    ((name, fields),) = events
    assert name == "api_connections_lowered"
    assert fields["configured"] == 5000
    assert fields["max_connections"] < 1024


def test_the_soft_limit_is_raised() -> None:
    """The soft limit becomes the hard one, but no huge one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = (
        "import resource; from daemon.runtime import descriptors\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (100, {hard}))\n"
        "descriptors.raise_open_file_limit()\n"
        "print(descriptors.open_file_limit(), descriptors._former[0])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    most = descriptors.MOST
    raised, former = map(int, done.stdout.split())
    assert former == 100
    assert raised == (most if hard == resource.RLIM_INFINITY else min(hard, most))
