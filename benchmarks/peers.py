"""The peers: the systems beside which campaignd is measured, their settings and installation.

The peers are installed at run time, in pinned versions, into `build/peers`. This repository has
only the drivers in `benchmarks/peers`, which use a peer as an application would. APScheduler is
campaignd's own dependency.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from database import MAX_WAIT_S, poll_interval, sleep_until, vacuum, wait_until
from figures import BurstFigures, burst_figures
from processes import HERE, ResourceUsage

DRIVERS = HERE / "peers"
MAX_READY_S = 60
PLACE = HERE.parent / "build" / "peers"
PEER_PYTHON = PLACE / "venv" / "bin" / "python"


class Unavailable(Exception):
    """A peer cannot be measured here; the message is the reason."""


@dataclass(frozen=True)
class Peer:
    """One peer at its best setting.

    Args:
        name: its name in the table.
        setting: the settings that were tuned.
        driver: the file in `benchmarks/peers`.
        left: SQL for the number of jobs that are not durably done; None if only the driver knows.
        register_per_s: jobs that it registers a second, at least.
        slow: whether only the smallest burst is measured.
        durable: whether jobs survive the peer's process.
        needs: raises Unavailable if a requirement is missing.
    """

    name: str
    setting: str
    driver: str
    left: str | None
    register_per_s: int
    slow: bool = False
    durable: bool = True
    needs: Callable[[], object] = lambda: None


def measure_peer(peer: Peer, url: str, count: int) -> BurstFigures:
    """Register jobs due at one instant, start the peer's worker, and wait for the last job.

    Raises:
        Unavailable: the peer cannot be installed, or it failed.
    """
    peer.needs()
    due = time.time() + 6 + count / peer.register_per_s
    with tempfile.TemporaryDirectory(prefix="campaignd-bench-") as place:
        folder = Path(place)
        target = url if peer.left is not None else "memory"
        arguments = [target, str(count), repr(due), place]
        _run([*_command(peer), "register", *arguments], peer.name)
        with psycopg.connect(url, autocommit=True) as connection:
            vacuum(connection)
            output = folder / "output"
            with output.open("wb") as stream:
                process = subprocess.Popen(
                    [*_command(peer), "work", *arguments],
                    stdout=stream,
                    stderr=subprocess.PIPE,
                    cwd=PLACE,
                    process_group=0,
                )
            try:
                _wait_for_line(process, output, b"ready", peer.name)
                if time.time() > due - 0.5:
                    raise Unavailable("the machine was too slow to be ready in time")
                sleep_until(max(due - 2.5, time.time() + 0.3))
                usage = ResourceUsage(process.pid)
                sleep_until(due)
                completed_at = 0.0
                if peer.left is not None:
                    left = peer.left.format(count=count)
                    completed_at = wait_until(
                        connection, f"SELECT ({left}) = 0", poll_s=poll_interval(count)
                    )
                _wait_for_line(process, output, b"begun", peer.name)
                figures = usage.figures(count)
            finally:
                _end(process)
        began = array("d", (folder / "began").read_bytes())
    if len(began) != count:
        raise Unavailable(f"{len(began)} jobs began of {count}")
    return burst_figures(peer.name, due, began, max(completed_at, *began), **figures)


def _command(peer: Peer) -> list[str]:
    PLACE.mkdir(parents=True, exist_ok=True)
    # Node resolves packages beside the importing file.
    shutil.copytree(DRIVERS, PLACE, dirs_exist_ok=True)
    if peer.driver.endswith(".mjs"):
        return ["node", peer.driver]
    here = peer is APSCHEDULER or peer is APSCHEDULER_MEMORY
    return [sys.executable if here else str(PEER_PYTHON), peer.driver]


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(
        command, cwd=PLACE, capture_output=True, text=True, timeout=MAX_WAIT_S, check=False
    )
    if done.returncode:
        raise Unavailable(f"{name}: {_last_line(done.stderr or done.stdout, done.returncode)}")


def _last_line(text: str, exit_code: int) -> str:
    return text.strip().rpartition("\n")[2] or f"exit code {exit_code}"


def _wait_for_line(process: subprocess.Popen[bytes], output: Path, line: bytes, name: str) -> None:
    deadline = time.monotonic() + MAX_READY_S
    while line not in output.read_bytes().splitlines():
        if process.poll() is not None:
            assert process.stderr is not None
            last = _last_line(process.stderr.read().decode(), process.returncode)
            raise Unavailable(f"{name} ended: {last}")
        if time.monotonic() > deadline:
            raise Unavailable(f"{name} did not print {line.decode()!r}")
        time.sleep(0.01)


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# --- installation -------------------------------------------------------------------------------

_reasons: dict[str, str | None] = {}
"""Why a requirement is missing, by its name; None if it is there."""


def _require(name: str, install: Callable[[], str | None]) -> None:
    """Install a requirement once; raise Unavailable with the reason that `install` returns."""
    if name not in _reasons:
        PLACE.mkdir(parents=True, exist_ok=True)
        _reasons[name] = install()
    if reason := _reasons[name]:
        raise Unavailable(reason)


def _install(command: list[str], stamp: Path, wanted: str) -> str | None:
    if stamp.exists() and stamp.read_text() == wanted:
        return None
    try:
        done = subprocess.run(
            command, cwd=PLACE, capture_output=True, text=True, timeout=600, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not installed: {error}"
    if done.returncode:
        return f"not installed: {_last_line(done.stderr, done.returncode)}"
    stamp.write_text(wanted)
    return None


def python_peers() -> None:
    """Create the environment of the Python peers, py-spy and matplotlib."""

    def install() -> str | None:
        wanted = DRIVERS / "requirements.txt"
        if not PEER_PYTHON.exists():
            subprocess.run([sys.executable, "-m", "venv", PLACE / "venv"], check=True)
        pip = [str(PEER_PYTHON), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        return _install(
            [*pip, "install", "-r", str(wanted)],
            PLACE / "python.installed",
            wanted.read_text(),
        )

    _require("python", install)


def node_peers() -> None:
    """Install the Node peers, if `node` and `npm` exist."""

    def install() -> str | None:
        if shutil.which("node") is None or shutil.which("npm") is None:
            return "node and npm do not exist"
        wanted = (DRIVERS / "package.json").read_text()
        (PLACE / "package.json").write_text(wanted)
        return _install(
            ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"],
            PLACE / "node.installed",
            wanted,
        )

    _require("node", install)


def _celery() -> None:
    python_peers()
    _require(
        "redis",
        lambda: _check(
            "import os, redis;"
            "redis.from_url(os.environ.get('BENCH_REDIS_URL', 'redis://127.0.0.1:6379/0')).ping()",
            "no Redis server answers (BENCH_REDIS_URL)",
        ),
    )


def _oban() -> None:
    python_peers()
    _require("oban", lambda: _check("import oban", "needs Python 3.12"))


def _check(program: str, reason: str) -> str | None:
    done = subprocess.run(
        [PEER_PYTHON, "-c", program], capture_output=True, timeout=60, check=False
    )
    return reason if done.returncode else None


APSCHEDULER = Peer(
    "APScheduler + SQLAlchemyJobStore",
    "AsyncIOScheduler; completion is not recorded, so an upper bound",
    "apscheduler_store.py",
    "SELECT count(*) FROM apscheduler_jobs",
    300,
    slow=True,
)
APSCHEDULER_MEMORY = Peer(
    "APScheduler, memory (not durable)",
    "AsyncIOScheduler; nothing is durable",
    "apscheduler_store.py",
    None,
    3_000,
    durable=False,
)
PEERS = (
    Peer(
        "graphile-worker",
        "local queue of 2,000, 50 at once, batched completion, poll 0.1 s",
        "graphile_worker.mjs",
        "SELECT count(*) FROM graphile_worker._private_jobs",
        8_000,
        needs=node_peers,
    ),
    Peer(
        "pg-boss",
        "2 workers, batches of 5,000, poll 0.5 s (its minimum)",
        "pg_boss.mjs",
        "SELECT count(*) FROM pgboss.job WHERE name = 'noop' AND state <> 'completed'",
        8_000,
        needs=node_peers,
    ),
    Peer(
        "pgqueuer",
        "batches of 1,000, asyncpg",
        "pgqueuer_batches.py",
        "SELECT count(*) FROM pgqueuer",
        8_000,
        needs=python_peers,
    ),
    Peer(
        "oban for Python",
        "1,000 at once, staged every 0.1 s",
        "oban_worker.py",
        "SELECT count(*) FROM oban_jobs WHERE state <> 'completed'",
        800,
        slow=True,
        needs=_oban,
    ),
    Peer(
        "procrastinate",
        "20 at once, poll 0.1 s",
        "procrastinate_worker.py",
        "SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded'",
        2_000,
        slow=True,
        needs=python_peers,
    ),
    APSCHEDULER,
    Peer(
        "Celery, eta",
        "Redis, results in PostgreSQL, 2 processes",
        "celery_eta.py",
        "SELECT {count} - count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'",
        200,
        slow=True,
        needs=_celery,
    ),
    APSCHEDULER_MEMORY,
)
