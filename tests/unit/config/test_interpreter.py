"""A Python that the units cannot start is reported before the service fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from config import interpreter


@pytest.fixture
def managed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment /opt/campaignd/.venv on a machine with systemd."""
    monkeypatch.setattr(interpreter, "_MANAGED_BY_SYSTEMD", tmp_path)
    monkeypatch.setattr(sys, "prefix", "/opt/campaignd/.venv")
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setattr(sys, "base_prefix", "/usr")


@pytest.mark.usefixtures("managed")
def test_a_python_of_the_system_is_reached() -> None:
    assert interpreter.interpreter_warning() is None


@pytest.mark.usefixtures("managed")
@pytest.mark.parametrize("home", ["/root/.pyenv/versions/3.13", "/home/ada/.local/share/uv/python"])
def test_a_python_in_a_home_directory_is_reported(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "base_prefix", home)
    warning = interpreter.interpreter_warning()
    assert warning is not None
    assert warning.startswith(f"{home} is in a home directory")


@pytest.mark.usefixtures("managed")
def test_a_checkout_in_a_home_directory_is_no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/ada/campaignd/.venv")
    monkeypatch.setattr(sys, "base_prefix", "/home/ada/.pyenv")
    assert interpreter.interpreter_warning() is None


def test_without_systemd_there_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "_MANAGED_BY_SYSTEMD", tmp_path / "missing")
    monkeypatch.setattr(sys, "prefix", "/opt/campaignd/.venv")
    monkeypatch.setattr(sys, "base_prefix", "/root/.pyenv")
    assert interpreter.interpreter_warning() is None
