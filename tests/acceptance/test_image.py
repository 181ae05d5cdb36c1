"""The container image, built and run: demo, health check, read-only root, drain."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.machines.image import ImageBuilder
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.machine, pytest.mark.timeout(360)]

USER = 10001

# Like `docker run --read-only --tmpfs /tmp --user ...`, with the network of this machine.
_START = """
set -eu
root=$1; state=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$state" "$root/var/lib/campaignd"
mount -o remount,ro,bind "$root"
cd "$root"
exec chroot --userspec=10001:10001 . env -i "$@"
"""


@pytest.fixture
def started(image: ImageBuilder, tmp_path: Path) -> Iterator[Container]:
    """A container with a read-only root."""
    with image.mounted_container() as (_, root):
        yield Container(image, root, tmp_path)


class Container:
    """Processes in the image, started as its configuration says."""

    def __init__(self, image: ImageBuilder, root: Path, directory: Path) -> None:
        config = image.image_configuration()
        self._root = root
        self._entry = [str(part) for part in config["Entrypoint"]]  # type: ignore[attr-defined]
        self.command = [str(part) for part in config["Cmd"]]  # type: ignore[attr-defined]
        self.health = [str(part) for part in config["Healthcheck"]["Test"]]  # type: ignore[index]
        self._state = directory / "state"
        self._state.mkdir()
        os.chown(self._state, USER, USER)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._env = [*map(str, config["Env"]), f"CAMPAIGND_API__PORT={port}"]  # type: ignore[call-overload]
        self.log = directory / "log"

    def popen(self, *arguments: str, entry: bool = True) -> subprocess.Popen[bytes]:
        """Start a process."""
        command = [*self._env, *(self._entry if entry else []), *arguments]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    *("unshare", "--mount", "bash", "-c", _START, "-"),
                    *(str(self._root), str(self._state), *command),
                ],
                stdout=log,
                stderr=log,
            )

    def run(self, *arguments: str, entry: bool = True) -> int:
        """Wait for the end; return the exit code."""
        return self.popen(*arguments, entry=entry).wait(120)

    def text(self) -> str:
        """Return the output so far."""
        return self.log.read_text(errors="replace")


def test_it_is_as_it_should_be(image: ImageBuilder) -> None:
    """Not root, stopped by SIGTERM, with a health check, and without build tools."""
    config = image.image_configuration()
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Cmd"] == ["run"]
    assert config["Healthcheck"]["Test"] == ["CMD", "campaignd", "health"]  # type: ignore[index]
    with image.mounted_container() as (_, root):
        site = next((root / "opt/campaignd/lib").glob("python3*/site-packages"))
        there = {path.name for path in site.iterdir()}
        assert "campaignd" in there
        assert not {"daemon", "storage", "config"} & there
        assert not {"pip", "hatchling", "setuptools"} & there
        assert not list(root.glob("src"))
        assert not list(root.glob("dist"))
        for secret in (".git", ".env"):
            assert not list(root.glob(f"opt/campaignd/**/{secret}"))


def test_demo(image: ImageBuilder) -> None:
    """`docker run --rm campaignd demo`, by buildah."""
    with image.mounted_container() as (name, _):
        command, env = image.buildah_command(
            "run", "--user", str(USER), name, "--", "campaignd", "demo"
        )
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "completed" in done.stdout


def test_runs_is_checked_and_drains(started: Container) -> None:
    """On a read-only root: ready, healthy by its own check; SIGTERM drains; exit code 0."""
    daemon = started.popen(*started.command)
    try:
        wait_until("it is ready", lambda: '"event":"ready"' in started.text(), 60)
        print(f"\ncold start: {_cold_start(started.text()):.2f} s from its first line to ready")
        assert started.health[0] == "CMD"
        health = started.health[1:]
        wait_until("it is well", lambda: started.run(*health, entry=False) == 0, 30)
        assert started.run("status") == 0
        assert _owner(daemon.pid) == USER
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0
        assert '"event":"stopped"' in started.text()
        assert started.run(*health, entry=False) == 1
        assert "failed database: the embedded PostgreSQL does not run" in started.text()
    finally:
        daemon.kill()
        daemon.wait(30)


def _owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def _cold_start(log: str) -> float:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    at = {event["event"]: event["timestamp"] for event in lines}
    first, ready = lines[0]["timestamp"], at["ready"]
    return _seconds(ready) - _seconds(first)


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
