"""The embedded server: failures are reported in one line, with advice."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from storage.embedded import EmbeddedError, embedded_postgres, embedded_programs, postmaster
from tests.support.embedded_child import (
    running_server_of,
)


def test_a_failing_step_stops_what_was_started(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the database cannot be created, the server is stopped again."""
    monkeypatch.setattr("storage.embedded.DATABASE", 'bad"name')
    with pytest.raises(EmbeddedError), embedded_postgres(state_dir):
        pass
    assert running_server_of(state_dir) is None


def test_a_server_that_does_not_start_reports_the_reason(state_dir: Path) -> None:
    """The error holds the server's message, on one line."""
    with embedded_postgres(state_dir):
        pass
    with (state_dir / "postgres" / "data" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedError) as caught, embedded_postgres(state_dir):
        pass
    assert "did not start" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_full_disk_is_named() -> None:
    """The programs' text becomes one line, with advice."""
    error = postmaster.program_error(
        "initdb failed",
        'creating ...\ninitdb: error: could not write file "x": No space left on device\n'
        'initdb: removing data directory "x"\n',
    )
    assert str(error) == 'initdb failed: error: could not write file "x": No space left on device'
    assert error.hint is not None
    assert "space" in error.hint


def test_small_shared_memory_is_named() -> None:
    """A full /dev/shm reads like a full disk."""
    error = postmaster.program_error(
        "initdb failed",
        "FATAL:  could not resize shared memory segment"
        ' "/PostgreSQL.1804289383" to 1048576 bytes: No space left on device\n',
    )
    assert error.hint is not None
    assert "/dev/shm" in error.hint
    assert "state_dir" not in error.hint


def test_state_dir_that_is_a_file(state_dir: Path) -> None:
    """One line, with the path and what to do."""
    state_dir.write_text("")
    with (
        pytest.raises(EmbeddedError, match="Not a directory") as caught,
        embedded_postgres(state_dir),
    ):
        pass
    assert str(state_dir) in str(caught.value)
    assert caught.value.hint


def test_programs_of_a_distribution(state_dir: Path) -> None:
    """The server runs from the directory that the setting names."""
    programs = state_dir.with_name("programs")
    programs.symlink_to(embedded_programs(state_dir))
    with embedded_postgres(state_dir, programs=programs):
        running = postmaster.read_postmaster(state_dir / "postgres" / "data")
        assert running is not None
        command = Path(f"/proc/{running.pid}/cmdline").read_bytes()
    assert command.startswith(os.fsencode(programs / "postgres") + b"\0")


def test_a_directory_without_programs(state_dir: Path) -> None:
    with (
        pytest.raises(EmbeddedError, match=r"embedded_programs .* has no initdb and no postgres"),
        embedded_postgres(state_dir, programs=state_dir.parent),
    ):
        pass


def test_missing_programs(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without programs in the package, the error asks for a database URL."""
    monkeypatch.setattr(postmaster, "_PROGRAM_FOLDERS", {"18": "nothing-here"})
    with (
        pytest.raises(EmbeddedError, match="no PostgreSQL 18") as caught,
        embedded_postgres(state_dir),
    ):
        pass
    assert caught.value.hint is not None
    assert "database_url" in caught.value.hint


def test_interrupted_start_leaves_nothing(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during the start stops the server, and its process is reaped."""
    started: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def remember(*args: object, **kwargs: object) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **kwargs))  # type: ignore[call-overload]
        return started[-1]

    def interrupt(data: Path) -> None:
        raise KeyboardInterrupt

    with embedded_postgres(state_dir):
        pass
    data = state_dir / "postgres" / "data"
    monkeypatch.setattr(postmaster.subprocess, "Popen", remember)
    monkeypatch.setattr(
        postmaster,
        "_neutralise_pid_file",
        lambda data: monkeypatch.setattr(postmaster, "read_postmaster", interrupt),
    )
    with pytest.raises(KeyboardInterrupt), embedded_postgres(state_dir):
        pass
    monkeypatch.undo()
    assert started[-1].returncode is not None
    assert postmaster.read_postmaster(data) is None
