"""Measure a burst of a peer: its driver stores the jobs, then its worker fires them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from database import (
    MAX_WAIT_S,
    StillFalse,
    poll_interval,
    require_time_until,
    scalar,
    sleep_until,
    vacuum,
    wait_until,
)
from figures import BurstFigures, burst_figures
from peer_installation import (
    PLACE,
    Unavailable,
    copy_drivers,
    last_line,
)
from peers import Peer
from processes import ResourceUsage

MAX_READY_S = 60


def measure_peer(
    url: str, peer: Peer, count: int, *, cut_s: float | None = None, lead: float | None = None
) -> BurstFigures:
    """Register jobs due at one instant, start the peer's worker, and wait for the last job.

    Args:
        url: an empty database.
        peer: the peer.
        count: number of jobs due at one instant.
        cut_s: seconds after the instant at which the burst is cut off, if it has not ended.
        lead: see `Peer.lead`, the default.

    Raises:
        Unavailable: the peer cannot be installed, or it failed.
        TooSlow: the machine was too slow to be ready in time.
        StillFalse: the burst did not end, and `cut_s` is None.
    """
    command = [str(peer.interpreter()), peer.driver]
    copy_drivers()
    with tempfile.TemporaryDirectory(prefix="campaignd-bench-") as place:
        folder = Path(place)
        with redis_server(folder) if peer.redis else no_server() as settings:
            environment = {**os.environ, **settings}
            due = time.time() + (lead or peer.lead) + count / 15_000
            arguments = [url, str(count), repr(due), place]
            _register([*command, "register", *arguments], environment, peer.name)
            with (
                psycopg.connect(url, autocommit=True) as connection,
                (folder / "output").open("wb") as output,
            ):
                vacuum(connection)
                process = subprocess.Popen(
                    [*command, "work", *arguments],
                    stdout=output,
                    stderr=subprocess.PIPE,
                    cwd=PLACE,
                    env=environment,
                    process_group=0,
                )
                try:
                    return _watch(peer, connection, process, folder, due, count, cut_s)
                finally:
                    _end(process)


def _watch(
    peer: Peer,
    connection: psycopg.Connection[Any],
    process: subprocess.Popen[bytes],
    folder: Path,
    due: float,
    count: int,
    cut_s: float | None,
) -> BurstFigures:
    _wait_for_line(process, folder, b"ready", peer.name)
    require_time_until(due - 0.5, peer.name)
    sleep_until(max(due - 2.5, time.time() + 0.3))
    usage = ResourceUsage(process.pid)
    sleep_until(due)
    left = peer.left.format(count=count)
    try:
        ended = wait_until(
            connection,
            f"SELECT NOT EXISTS (SELECT FROM {left})",
            poll_s=poll_interval(count),
            within_s=cut_s or MAX_WAIT_S,
        )
        done = count
        _wait_for_line(process, folder, b"begun", peer.name)
    except StillFalse:
        if cut_s is None:
            raise
        ended = time.time()
        done = count - int(scalar(connection, f"SELECT count(*) FROM {left}"))
    figures = usage.figures(done)
    _end(process)
    times = folder / "began"
    began = array("d", times.read_bytes() if times.exists() else b"")
    if done == count:
        if len(began) != count:
            raise Unavailable(f"{len(began)} jobs began of {count}")
        ended = max(ended, *began)
    return burst_figures(
        peer.name, due, [at for at in began if at <= ended], ended, count, done, **figures
    )


def _register(command: list[str], environment: Mapping[str, str], name: str) -> None:
    done = subprocess.run(
        command,
        cwd=PLACE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=MAX_WAIT_S,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"{name}: {last_line(done.stderr or done.stdout, done.returncode)}")


def _wait_for_line(process: subprocess.Popen[bytes], folder: Path, line: bytes, name: str) -> None:
    deadline = time.monotonic() + MAX_READY_S
    while line not in (folder / "output").read_bytes().splitlines():
        if process.poll() is not None:
            assert process.stderr is not None
            last = last_line(process.stderr.read().decode(), process.returncode)
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


@contextmanager
def no_server() -> Iterator[dict[str, str]]:
    """Yield no settings: PostgreSQL is all that the peer needs."""
    yield {}


@contextmanager
def redis_server(folder: Path) -> Iterator[dict[str, str]]:
    """Start a Redis server that is as durable as PostgreSQL; yield the setting with its socket.

    Raises:
        Unavailable: there is no Redis here.
    """
    if shutil.which("redis-server") is None:
        raise Unavailable("redis-server does not exist")
    socket = folder / "redis"
    process = subprocess.Popen(
        [
            *("redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + MAX_READY_S
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable("redis-server does not start")
            time.sleep(0.01)
        yield {"BENCH_REDIS": str(socket)}
    finally:
        process.kill()
        process.wait()
