"""Without a configured or embedded database, commands report it, and most create none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.in_process import run_campaignd
from tests.support.waiting import wait_until

CAMPAIGND = Path(sys.executable).with_name("campaignd")


def call(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of an operator whose home is empty, and who configures only these."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    # Another daemon of this machine may use the port.
    env |= {"HOME": str(home), "CAMPAIGND_API__ENABLED": "false"}
    return run_campaignd(arguments, {**env, **environment})


@pytest.mark.parametrize(
    "command",
    [
        *("status", "campaigns", "runs", "upcoming", "export", "db current", "keys list"),
        *("show 1", "explain 1", "pause 1", "start 1", "prune --keep-days 1", "keys create me"),
    ],
)
def test_none_is_made(tmp_path: Path, command: str) -> None:
    """One line names the place and the remedies; nothing is left behind."""
    done = call(tmp_path, *command.split())
    assert (done.returncode, done.stdout) == (3, "")
    expected = f"campaignd: error: there is no database in {tmp_path}/.local/share/campaignd ("
    assert done.stderr.startswith(expected)
    for remedy in ("CAMPAIGND_DATABASE_URL", "CAMPAIGND_STATE_DIR", "campaignd run"):
        assert remedy in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["check", "health"])
def test_a_check_of_the_database_fails(tmp_path: Path, command: str) -> None:
    """The database has a line of its own."""
    done = call(tmp_path, command)
    assert (done.returncode, done.stderr) == (1, "")
    where = f"{tmp_path}/.local/share/campaignd"
    assert f"failed database: there is no database in {where} (" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_start(tmp_path: Path) -> None:
    """The directories alone are no database."""
    top = tmp_path / ".local" / "share" / "campaignd" / "postgres"
    top.mkdir(parents=True)
    done = call(tmp_path, "status")
    assert done.returncode == 3
    assert "there is no database in" in done.stderr
    assert not (top / "data").exists()


@pytest.fixture
def state() -> Iterator[Path]:
    """Make a directory outside of pytest's own, which the server's user cannot read."""
    made = Path(tempfile.mkdtemp(prefix="campaignd-state-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_import_makes_one(tmp_path: Path, state: Path) -> None:
    """Other commands find the database from the start of the import on."""
    env = os.environ | {"CAMPAIGND_STATE_DIR": str(state)}
    with subprocess.Popen(
        [CAMPAIGND, "import", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    ) as making:
        try:
            wait_until("it begins", (state / "postgres" / "start.lock").exists)
            here = {"CAMPAIGND_STATE_DIR": str(state)}
            done = call(tmp_path, "campaigns", **here)
            assert (done.returncode, done.stdout) == (0, "no campaigns\n"), done.stderr
            line = json.dumps({"campaign": {"name": "first"}, "schedule": None})
            _, stderr = making.communicate(line, timeout=200)
        finally:
            making.terminate()
    assert (making.returncode, stderr) == (0, "1 loaded, 0 unchanged, 0 updated, 0 bad\n")
    assert "first" in call(tmp_path, "campaigns", **here).stdout
    assert "ok database" in call(tmp_path, "check", **here).stdout
    health = call(tmp_path, "health", **here).stdout
    assert "failed database: the embedded PostgreSQL does not run" in health
