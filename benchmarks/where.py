"""Measure where the time of a burst goes: the daemon's by function, and the server's as a whole.

A sampling profiler (py-spy, in the environment of the peers) samples the daemon from the instant
to the last completion. A sample counts for the innermost function of campaignd in its stack, so
time in a library counts for its caller. Processor time is the kernel's.

Usage: python benchmarks/where.py [--campaigns N] [--url URL]
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psycopg
from database import (
    argument_parser,
    database,
    require_time_until,
    server,
    sleep_until,
    utc,
    vacuum,
    wait_until,
)
from durable_fire import DONE, LEAD_S
from peer_installation import python_peers
from processes import THIS, running_daemon, server_usage
from stored_campaigns import insert_one_offs

SAMPLES_PER_S = 500
PACKAGES = ("daemon", "storage", "config")
LOOP = "daemon/cli/"
"""The files that only start the event loop; a sample in them is one of the loop."""


@dataclass(frozen=True)
class BurstProfile:
    """Microseconds for each fire, and the share of the daemon's samples by function."""

    fires: int
    wall_us: float
    daemon_us: float
    server_us: float
    shares: dict[str, float]


def measure_where(url: str, count: int, *, lead: float = LEAD_S) -> BurstProfile:
    """Profile one burst in an empty database.

    Raises:
        TooSlow: the machine was too slow to be ready in time.
        Unavailable: the profiler cannot be installed.
    """
    profilers = python_peers().parent
    THIS.upgrade(url)
    with tempfile.TemporaryDirectory() as place, psycopg.connect(url, autocommit=True) as own:
        folder, stacks = Path(place), Path(place) / "stacks"
        due = time.time() + lead + count / 15_000
        insert_one_offs(own, count, utc(due), "noop")
        vacuum(own)
        with running_daemon(url, folder, THIS.noop_target(folder)) as daemon:
            require_time_until(due - 1, "campaignd")
            sleep_until(due - 1)
            of_server = server_usage(own)
            daemon.usage.start()
            profiler = subprocess.Popen(
                [
                    *(profilers / "py-spy", "record", "--format", "raw"),
                    *("--pid", str(daemon.process.pid), "--rate", str(SAMPLES_PER_S)),
                    *("--duration", "600", "--output", stacks),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            sleep_until(due)
            ended = wait_until(own, DONE, poll_s=0.02)
            cpu, server_cpu = daemon.usage.cpu_s(), of_server.cpu_s()
            profiler.send_signal(signal.SIGINT)
            profiler.wait(60)
        samples = samples_by_function(stacks.read_text())
    whole = sum(samples.values())
    return BurstProfile(
        count,
        round((ended - due) / count * 1e6, 1),
        round(cpu / count * 1e6, 1),
        round(server_cpu / count * 1e6, 1),
        {name: number / whole for name, number in samples.most_common()},
    )


def samples_by_function(stacks: str) -> Counter[str]:
    """Count the samples of py-spy's raw format by the innermost function of campaignd."""
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, samples = line.rsplit(" ", 1)
        found[_innermost(stack.split(";"))] += int(samples)
    return found


def _innermost(frames: list[str]) -> str:
    """Return `storage/runs.py claim` for a frame `claim (storage/runs.py:50)`."""
    for frame in reversed(frames):
        name, _, place = frame.partition(" (")
        path = place.rpartition(":")[0]
        for package in PACKAGES:
            start = path.find(f"{package}/")
            if start == 0 or (start > 0 and str(THIS.root) in path):
                if path[start:].startswith(LOOP):
                    return "the event loop and the rest"
                return f"{path[start:]} {name}"
    return "the event loop and the rest"


def main() -> None:
    """Profile one burst and print the functions with the most samples."""
    parser = argument_parser(__doc__)
    parser.add_argument("--campaigns", type=int, default=20_000, help="due at once")
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
