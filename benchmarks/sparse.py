"""Sparse load: fires spread evenly over some seconds, beside asyncio's own timers.

Lateness is the start of the action minus the instant. The bare timers are `call_at` in a process
that does nothing else: what the machine and Python's event loop make of an instant anyway.

Usage: python benchmarks/sparse.py [--rate N] [--seconds S] [--url URL]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
from figures import quantile
from ground import (
    daemon,
    database,
    done_at,
    insert_one_offs,
    noop_target,
    noop_times,
    server,
    settle,
    sleep_until,
    utc,
)

from storage.migrate import upgrade

BARE = """
import asyncio, sys, time
count, apart = int(sys.argv[1]), float(sys.argv[2])
late = []
async def main():
    loop = asyncio.get_running_loop()
    began = loop.time() + 0.5
    for number in range(count):
        at = began + number * apart
        loop.call_at(at, lambda at=at: late.append(loop.time() - at))
    await asyncio.sleep(0.7 + count * apart)
asyncio.run(main())
print(*late)
"""


@dataclass(frozen=True)
class Lateness:
    """Of fires that were spread."""

    name: str
    fires: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def lateness(name: str, late_s: Sequence[float]) -> Lateness:
    """In milliseconds."""
    late = sorted(each * 1000 for each in late_s)
    return Lateness(
        name,
        len(late),
        round(quantile(late, 0.5), 2),
        round(quantile(late, 0.99), 2),
        round(late[-1], 2),
    )


def measure_bare(rate: int, seconds: int) -> Lateness:
    """asyncio alone."""
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(rate * seconds), str(1 / rate)],
        capture_output=True,
        text=True,
        check=True,
    )
    return lateness("asyncio timers alone", [float(each) for each in done.stdout.split()])


def measure_sparse(url: str, rate: int, seconds: int) -> Lateness:
    """campaignd."""
    upgrade(url)
    count = rate * seconds
    due = time.time() + 5
    with tempfile.TemporaryDirectory() as place, psycopg.connect(url, autocommit=True) as own:
        folder = Path(place)
        insert_one_offs(own, count, utc(due), "noop", apart=timedelta(seconds=1 / rate))
        settle(own)
        with daemon(url, folder, noop_target(folder)):
            sleep_until(due + seconds + 0.5)
            done_at(own, "SELECT EXISTS (SELECT FROM timers)", 0.1)
            done_at(own, "SELECT EXISTS (SELECT FROM runs WHERE finished_at IS NULL)", 0.1)
        times = noop_times(folder)
    if len(times) != count:
        raise SystemExit(f"{len(times)} fires of {count}")
    return lateness("campaignd", [begun - at for at, begun in times])


def main() -> None:
    """Measure both and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=int, default=100, help="fires a second")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
    given = parser.parse_args()
    bare = measure_bare(given.rate, given.seconds)
    with server(given.url) as url, database(url, "bench_sparse") as own:
        ours = measure_sparse(own, given.rate, given.seconds)
    for row in (bare, ours):
        print(
            f"{row.name:<24}{row.fires:>6} fires  p50 {row.p50_ms:>7.2f} ms  p99 {row.p99_ms:>7.2f}"
            f" ms  max {row.max_ms:>7.2f} ms"
        )
    print(f"ratio p50 {ours.p50_ms / bare.p50_ms:.2f}, p99 {ours.p99_ms / bare.p99_ms:.2f}")


if __name__ == "__main__":
    main()
