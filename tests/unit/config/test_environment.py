"""systemd's variables are read here, once."""

from __future__ import annotations

import os

import pytest

from config.systemd_environment import SystemdEnvironment, take_systemd_environment


def test_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that a target starts must not notify in the daemon's name."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.setenv("NOTIFY_SOCKET", "@x")
    monkeypatch.setenv("WATCHDOG_USEC", "7")
    assert take_systemd_environment() == SystemdEnvironment("@x", "7", None)
    assert "NOTIFY_SOCKET" not in os.environ
    assert take_systemd_environment() == SystemdEnvironment()


def test_given() -> None:
    """Another environment is left alone."""
    given = {"WATCHDOG_PID": "3"}
    assert take_systemd_environment(given) == SystemdEnvironment(None, None, "3")
    assert given
