"""Where the time of a burst goes: the daemon's, by its modules, and the server's.

A sampling profiler (py-spy, in the environment of the peers) looks at the daemon from the instant
to the last completion. A sample counts for the innermost function of campaignd in its stack, so
that time in a library counts for its caller. Processor time is the kernel's.

Usage: python benchmarks/where.py [--campaigns N] [--url URL]
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from ground import (
    HERE,
    Footprint,
    daemon,
    database,
    done_at,
    insert_one_offs,
    noop_target,
    server,
    settle,
    sleep_until,
    utc,
)
from peers import PLACE, python_peers

from storage.migrate import upgrade

RATE = 500
PACKAGES = ("daemon", "storage", "config")
LOOP = "daemon/cli/"
"""What only starts the event loop: a sample in it is one of the loop."""


@dataclass(frozen=True)
class Where:
    """Of one burst; processor time in us a fire, functions as shares of the daemon's samples."""

    fires: int
    wall_us: float
    daemon_us: float
    server_us: float
    shares: dict[str, float]


def measure_where(url: str, count: int) -> Where:
    """One burst, looked at."""
    python_peers()
    upgrade(url)
    left = "SELECT EXISTS (SELECT FROM campaigns WHERE status IN ('scheduled', 'executing'))"
    with tempfile.TemporaryDirectory() as place, psycopg.connect(url, autocommit=True) as own:
        folder, stacks = Path(place), Path(place) / "stacks"
        due = time.time() + 6 + count / 15_000
        insert_one_offs(own, count, utc(due), "noop")
        settle(own)
        with daemon(url, folder, noop_target(folder)) as running:
            backend = psutil.Process(own.info.backend_pid)
            theirs = Footprint((backend.parent() or backend).pid)
            sleep_until(due - 1)
            running.footprint.rest()
            theirs.rest()
            profiler = subprocess.Popen(
                [
                    *(PLACE / "venv" / "bin" / "py-spy", "record", "--format", "raw"),
                    *("--pid", str(running.process.pid), "--rate", str(RATE)),
                    *("--duration", "600", "--output", stacks),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            sleep_until(due)
            ended = done_at(own, left, 0.02)
            cpu, server_cpu = running.footprint.cpu_s(), theirs.cpu_s()
            profiler.send_signal(signal.SIGINT)
            profiler.wait(60)
        found = by_function(stacks.read_text())
    whole = sum(found.values())
    return Where(
        count,
        round((ended - due) / count * 1e6, 1),
        round(cpu / count * 1e6, 1),
        round(server_cpu / count * 1e6, 1),
        {name: samples / whole for name, samples in found.most_common()},
    )


def by_function(stacks: str) -> Counter[str]:
    """Samples by the innermost function of campaignd."""
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, samples = line.rsplit(" ", 1)
        found[_innermost(stack.split(";"))] += int(samples)
    return found


def _innermost(frames: list[str]) -> str:
    """Such as `storage/firing.py claim`; frames look like `claim (storage/firing.py:50)`."""
    for frame in reversed(frames):
        name, _, place = frame.partition(" (")
        path = place.rpartition(":")[0]
        for package in PACKAGES:
            start = path.find(f"{package}/")
            if start == 0 or (start > 0 and str(HERE.parent) in path):
                if path[start:].startswith(LOOP):
                    return "the event loop and the rest"
                return f"{path[start:]} {name}"
    return "the event loop and the rest"


def main() -> None:
    """Measure and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=20_000)
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
    given = parser.parse_args()
    with server(given.url) as url, database(url, "bench_where") as own:
        found = measure_where(own, given.campaigns)
    print(
        f"{found.fires} fires, us each: {found.wall_us:.0f} by the clock, {found.daemon_us:.0f} of"
        f" the daemon's processor, {found.server_us:.0f} of the server's"
    )
    for name, share in list(found.shares.items())[:30]:
        print(f"{share:>7.1%}  {name}")


if __name__ == "__main__":
    main()
