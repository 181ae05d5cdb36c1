"""Where no database is named and none was made: who looks or steers is told so, and makes none."""

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

from tests.support.daemons import wait_until

CAMPAIGND = Path(sys.executable).with_name("campaignd")


def call(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command of somebody whose home is empty, and whose environment names nothing else."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    # Some other daemon of this machine may have the port.
    env |= {"HOME": str(home), "CAMPAIGND_API__ENABLED": "false"}
    return subprocess.run(
        [CAMPAIGND, *arguments],
        env={**env, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        *("status", "campaigns", "runs", "upcoming", "export", "db current", "keys list"),
        *("show 1", "explain 1", "pause 1", "start 1", "prune --keep-days 1", "keys create me"),
    ],
)
def test_none_is_made(tmp_path: Path, command: str) -> None:
    """One line that says where it looked and what to do; nothing is left behind."""
    done = call(tmp_path, *command.split())
    assert (done.returncode, done.stdout) == (3, "")
    told = f"campaignd: error: there is no database in {tmp_path}/.local/share/campaignd ("
    assert done.stderr.startswith(told)
    for way in ("CAMPAIGND_DATABASE_URL", "CAMPAIGND_STATE_DIR", "campaignd run"):
        assert way in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["check", "health"])
def test_what_asks_for_it_fails(tmp_path: Path, command: str) -> None:
    """It is a line among the others."""
    done = call(tmp_path, command)
    assert (done.returncode, done.stderr) == (1, "")
    where = f"{tmp_path}/.local/share/campaignd"
    assert f"failed database: there is no database in {where} (" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_was_broken_off(tmp_path: Path) -> None:
    """Its directories alone are no database."""
    top = tmp_path / ".local" / "share" / "campaignd" / "postgres"
    top.mkdir(parents=True)
    done = call(tmp_path, "status")
    assert done.returncode == 3
    assert "there is no database in" in done.stderr
    assert not (top / "data").exists()


@pytest.fixture
def state() -> Iterator[Path]:
    """Not in pytest's own directory, which every session closes again to the server's user."""
    made = Path(tempfile.mkdtemp(prefix="campaignd-state-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_import_makes_one(tmp_path: Path, state: Path) -> None:
    """It begins something; from then on, and already meanwhile, the others find it."""
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
            _, told = making.communicate(line, timeout=200)
        finally:
            making.terminate()
    assert (making.returncode, told) == (0, "1 loaded, 0 unchanged, 0 updated, 0 bad\n")
    assert "first" in call(tmp_path, "campaigns", **here).stdout
    assert "ok database" in call(tmp_path, "check", **here).stdout
    said = call(tmp_path, "health", **here).stdout
    assert "failed database: the embedded PostgreSQL does not run" in said
