"""The peers: where they come from, how each is set, and how one of them is measured.

They are installed at run time, in pinned versions, into an environment of their own
(`build/peers`): nothing of them is in this repository but the drivers in `benchmarks/peers`, which
do what a program that uses them would do. APScheduler is the one that campaignd itself stands on.
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
from figures import Measured, measured
from ground import HERE, LONGEST_S, Footprint, done_at, poll_for, settle, sleep_until

DRIVERS = HERE / "peers"
READY_S = 60
PLACE = HERE.parent / "build" / "peers"


class Unavailable(Exception):
    """A peer that cannot be measured here, with the reason."""


@dataclass(frozen=True)
class Peer:
    """One peer at its best setting.

    Args:
        name: as the table has it.
        setting: what was tuned.
        driver: the file in `benchmarks/peers`.
        left: counts what is not durably done yet; None: only its own word is there for it.
        register_per_s: how many a second it registers, at least.
        slow: only measured with the smallest number.
        durable: whether it survives its own process.
        needs: raises Unavailable if something is not there.
    """

    name: str
    setting: str
    driver: str
    left: str | None
    register_per_s: int
    slow: bool = False
    durable: bool = True
    needs: Callable[[], object] = lambda: None


def measure_peer(peer: Peer, url: str, count: int) -> Measured:
    """Register N jobs due at one instant, start its worker, and see it through."""
    peer.needs()
    due = time.time() + 6 + count / peer.register_per_s
    with tempfile.TemporaryDirectory(prefix="campaignd-bench-") as place:
        folder = Path(place)
        target = url if peer.left is not None else "memory"
        arguments = [target, str(count), repr(due), place]
        _run([*_command(peer), "register", *arguments], peer.name)
        with psycopg.connect(url, autocommit=True) as connection:
            settle(connection)
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
                _said(process, output, b"ready", peer.name)
                if time.time() > due - 0.5:
                    raise Unavailable("the machine was too slow to be ready in time")
                footprint = Footprint(process.pid)
                sleep_until(max(due - 2.5, time.time() + 0.3))
                footprint.rest()
                sleep_until(due)
                seen = (
                    done_at(connection, peer.left.format(count=count), poll_for(count))
                    if peer.left
                    else 0.0
                )
                _said(process, output, b"begun", peer.name)
                more = {
                    "idle_mb": footprint.idle_mb,
                    "peak_mb": footprint.peak_mb(),
                    "cpu_us": footprint.cpu_s() / count * 1e6,
                }
            finally:
                _end(process)
        began = array("d", (folder / "began").read_bytes())
    if len(began) != count:
        raise Unavailable(f"{len(began)} jobs began of {count}")
    return measured(peer.name, due, began, max(seen, *began), **more)


def _command(peer: Peer) -> list[str]:
    PLACE.mkdir(parents=True, exist_ok=True)
    shutil.copytree(DRIVERS, PLACE, dirs_exist_ok=True)  # Node looks for packages beside the file
    if peer.driver.endswith(".mjs"):
        return ["node", peer.driver]
    own = peer.driver == "apscheduler_store.py"
    return [sys.executable if own else str(PLACE / "venv" / "bin" / "python"), peer.driver]


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(
        command, cwd=PLACE, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{name}: {said[-1] if said else done.returncode}")


def _said(process: subprocess.Popen[bytes], output: Path, line: bytes, name: str) -> None:
    deadline = time.monotonic() + READY_S
    while line not in output.read_bytes().splitlines():
        if process.poll() is not None:
            assert process.stderr is not None
            said = process.stderr.read().decode().strip().splitlines()
            raise Unavailable(f"{name} ended: {said[-1] if said else process.returncode}")
        if time.monotonic() > deadline:
            raise Unavailable(f"{name} did not say {line.decode()!r}")
        time.sleep(0.01)


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# --- where they come from -----------------------------------------------------------------------

_asked: dict[str, str | None] = {}


def _once(what: str, install: Callable[[], str | None]) -> None:
    """Install something once a run; raises Unavailable with the reason if that fails."""
    if what not in _asked:
        PLACE.mkdir(parents=True, exist_ok=True)
        _asked[what] = install()
    if reason := _asked[what]:
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
        return f"not installed: {done.stderr.strip().splitlines()[-1]}"
    stamp.write_text(wanted)
    return None


def python_peers() -> None:
    """The environment of the peers in Python, and of the plot."""

    def install() -> str | None:
        wanted = DRIVERS / "requirements.txt"
        venv = PLACE / "venv"
        if not (venv / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        pip = [venv / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        return _install(
            [*map(str, pip), "install", "-r", str(wanted)],
            PLACE / "python.installed",
            wanted.read_text(),
        )

    _once("python", install)


def node_peers() -> None:
    """The same for those in JavaScript, when node is there."""

    def install() -> str | None:
        if shutil.which("node") is None or shutil.which("npm") is None:
            return "node and npm are not there"
        wanted = (DRIVERS / "package.json").read_text()
        (PLACE / "package.json").write_text(wanted)
        return _install(
            ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"],
            PLACE / "node.installed",
            wanted,
        )

    _once("node", install)


def _celery() -> None:
    python_peers()
    _once(
        "redis",
        lambda: _answers(
            "import os, redis;"
            "redis.from_url(os.environ.get('BENCH_REDIS_URL', 'redis://127.0.0.1:6379/0')).ping()",
            "no Redis answers (BENCH_REDIS_URL)",
        ),
    )


def _oban() -> None:
    python_peers()
    _once("oban", lambda: _answers("import oban", "needs Python 3.12"))


def _answers(program: str, reason: str) -> str | None:
    python = str(PLACE / "venv" / "bin" / "python")
    done = subprocess.run([python, "-c", program], capture_output=True, timeout=60, check=False)
    return reason if done.returncode else None


APSCHEDULER = Peer(
    "APScheduler + SQLAlchemyJobStore",
    "AsyncIOScheduler; completion is not recorded, so an upper bound",
    "apscheduler_store.py",
    "SELECT count(*) FROM apscheduler_jobs",
    300,
    slow=True,
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
        "SELECT count(*) < {count} FROM celery_taskmeta WHERE status = 'SUCCESS'",
        200,
        slow=True,
        needs=_celery,
    ),
    Peer(
        "APScheduler, memory (not durable)",
        "AsyncIOScheduler; nothing is durable",
        "apscheduler_store.py",
        None,
        3_000,
        durable=False,
    ),
)
