"""The variables of systemd are read once."""

from __future__ import annotations

import os

import pytest

from config.environment import SystemdEnvironment, take_systemd_environment


def test_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that a target starts must not notify systemd in the daemon's name."""
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.setenv("NOTIFY_SOCKET", "@x")
    monkeypatch.setenv("WATCHDOG_USEC", "7")
    assert take_systemd_environment() == SystemdEnvironment("@x", "7", None)
    assert "NOTIFY_SOCKET" not in os.environ
    assert take_systemd_environment() == SystemdEnvironment()


def test_given() -> None:
    """A given environment is not changed."""
    given = {"WATCHDOG_PID": "3"}
    assert take_systemd_environment(given) == SystemdEnvironment(None, None, "3")
    assert given
