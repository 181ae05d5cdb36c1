"""Measure the lateness of fires that are spread evenly, beside timers of asyncio alone.

Lateness is the start of the action minus the instant. The bare timers are `call_at` in a process
that does nothing else. They show the lateness of the machine and of Python's event loop.

Usage: python benchmarks/sparse.py [--rate N] [--seconds S] [--url URL]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import timedelta
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
from figures import Lateness, lateness
from processes import THIS, Checkout, noop_times, running_daemon
from stored_campaigns import insert_one_offs

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
DONE = """
SELECT NOT EXISTS (SELECT FROM timers) AND NOT EXISTS (SELECT FROM runs WHERE finished_at IS NULL)
"""


def measure_bare(rate: int, seconds: int) -> Lateness:
    """Measure timers of asyncio alone."""
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(rate * seconds), str(1 / rate)],
        capture_output=True,
        text=True,
        check=True,
    )
    return lateness("asyncio timers alone", [float(each) for each in done.stdout.split()])


def measure_sparse(
    url: str,
    rate: int,
    seconds: int,
    *,
    api: bool = False,
    checkout: Checkout = THIS,
    lead: float = 5,
) -> Lateness:
    """Measure `rate` fires a second of campaignd.

    Args:
        url: an empty database.
        rate: fires a second.
        seconds: duration of the load.
        api: whether the daemon serves the HTTP API.
        checkout: whose daemon it is.
        lead: seconds until the first fire.

    Raises:
        TooSlow: the machine was too slow to be ready in time.
        SystemExit: not every campaign ran once.
    """
    checkout.upgrade(url)
    count = rate * seconds
    due = time.time() + lead
    with tempfile.TemporaryDirectory() as place, psycopg.connect(url, autocommit=True) as own:
        folder = Path(place)
        settings = checkout.noop_target(folder)
        insert_one_offs(own, count, utc(due), "noop", apart=timedelta(seconds=1 / rate))
        vacuum(own)
        with running_daemon(url, folder, settings, api=api, checkout=checkout):
            require_time_until(due - 0.5, "campaignd")
            sleep_until(due + seconds + 0.5)
            wait_until(own, DONE, poll_s=0.1)
        times = noop_times(folder)
    if len(times) != count:
        raise SystemExit(f"{len(times)} fires of {count}")
    return lateness("campaignd", [started - at for at, started in times])


def main() -> None:
    """Measure both and print the figures and their ratio."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rate", type=int, default=100, help="fires a second")
    parser.add_argument("--seconds", type=int, default=20)
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
