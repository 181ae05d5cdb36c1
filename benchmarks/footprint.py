"""Measure what a daemon costs: memory, processor time while idle, and seconds until ready.

Each row is one `campaignd run` on a new database, by default without the API:

- ready: from the start of the process to its log line `ready`.
- idle: resident memory and processor time of the daemon, and processor time of the server, in the
  seconds after that line. All stored schedules are due next month.
- peak: the largest resident memory, as the kernel counts it, during a burst at one instant.

Usage: python benchmarks/footprint.py [--stored 1000,100000,1000000] [--burst N] [--idle S] [--api]
           [--starts N] [--url URL] [--json]
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

import psycopg
from database import (
    argument_parser,
    database,
    require_time_until,
    scalar,
    server,
    sleep_until,
    utc,
    vacuum,
    wait_until,
)
from processes import THIS, Checkout, Daemon, running_daemon, server_usage
from stored_campaigns import insert_one_offs

SETTLING_S = 2
"""Seconds after `ready` in which a daemon still prepares for its first burst."""


@dataclass(frozen=True)
class Footprint:
    """The cost of one daemon; processor time in processors, so 0.01 is a hundredth of one."""

    stored: int
    api: bool
    ready_s: float
    idle_mb: float
    idle_cpu: float
    server_cpu: float
    burst: int
    peak_mb: float | None = None


def store(url: str, stored: int, *, checkout: Checkout = THIS) -> None:
    """Fill an empty database with one-off schedules that are due next month."""
    checkout.upgrade(url)
    with psycopg.connect(url, autocommit=True) as connection:
        insert_one_offs(connection, stored, utc(time.time()) + timedelta(days=30))
        vacuum(connection)


def measure_start(url: str) -> float:
    """Return the seconds of one cold start to `ready`, without the API."""
    with tempfile.TemporaryDirectory() as place, running_daemon(url, Path(place)) as daemon:
        return daemon.ready_s


def measure(
    url: str,
    stored: int,
    *,
    api: bool = False,
    idle_s: float = 10,
    burst: int = 0,
    lead: float = 5,
    checkout: Checkout = THIS,
) -> Footprint:
    """Start a daemon, leave it idle, and let a burst run if one is requested.

    Args:
        url: a database that `store` has filled.
        stored: number of its schedules.
        api: whether the daemon serves the HTTP API.
        idle_s: seconds in which nothing is due.
        burst: number of further campaigns that are due at one instant.
        lead: seconds until that instant, without those that storing the campaigns takes.
        checkout: whose daemon it is.
    """
    with (
        tempfile.TemporaryDirectory() as place,
        psycopg.connect(url, autocommit=True) as connection,
        running_daemon(url, Path(place), api=api, checkout=checkout) as daemon,
    ):
        time.sleep(SETTLING_S)
        of_server = server_usage(connection)
        daemon.usage.start()
        began = time.monotonic()
        time.sleep(idle_s)
        cpu, server_cpu = daemon.usage.cpu_s(), of_server.cpu_s()
        took = time.monotonic() - began
        daemon.usage.start()
        peak = fire_burst(connection, daemon, burst, lead) if burst else None
        return Footprint(
            stored,
            api,
            round(daemon.ready_s, 3),
            round(daemon.usage.idle_mb, 1),
            round(cpu / took, 5),
            round(server_cpu / took, 5),
            burst,
            None if peak is None else round(peak, 1),
        )


def median_footprint(rows: Sequence[Footprint]) -> Footprint:
    """Return the median of each figure of the same daemon, measured several times."""
    medians = {
        key: statistics.median(getattr(row, key) for row in rows)
        for key in ("ready_s", "idle_mb", "idle_cpu", "server_cpu")
    }
    return replace(rows[0], **medians)


def fire_burst(connection: psycopg.Connection, daemon: Daemon, count: int, lead: float) -> float:
    """Store campaigns due at one instant while the daemon runs; return its peak memory in MB."""
    due = time.time() + lead + count / 20_000
    last = scalar(connection, "SELECT max(id) FROM campaigns")
    insert_one_offs(connection, count, utc(due))
    require_time_until(due, "campaignd")
    sleep_until(due)
    done = "SELECT NOT EXISTS (SELECT FROM campaigns WHERE id > %s AND status <> 'completed')"
    wait_until(connection, done, last, poll_s=0.02)
    return daemon.usage.peak_mb()


def main() -> None:
    """Measure every size and print the rows."""
    parser = argument_parser(__doc__)
    parser.add_argument("--stored", default="1000,100000,1000000", help="sizes")
    parser.add_argument("--burst", type=int, default=0, help="campaigns due at once at each size")
    parser.add_argument("--idle", type=float, default=10, help="seconds")
    parser.add_argument("--starts", type=int, default=3, help="starts without the API, for `ready`")
    parser.add_argument("--api", action="store_true", help="serve the HTTP API")
    parser.add_argument("--json", action="store_true", help="print each row as a JSON object")
    given = parser.parse_args()
    if not given.json:
        print(
            f"{'stored':>10}{'ready s':>9}{'idle MB':>9}{'idle CPU':>10}{'server CPU':>12}"
            f"{'burst':>9}{'peak MB':>9}"
        )
    with server(given.url) as url:
        for stored in map(int, given.stored.split(",")):
            with database(url, "footprint") as own:
                store(own, stored)
                ready = [measure_start(own) for _ in range(given.starts)]
                row = measure(own, stored, api=given.api, idle_s=given.idle, burst=given.burst)
                row = replace(row, ready_s=round(statistics.median(ready), 3))
            if given.json:
                print(json.dumps(asdict(row)), flush=True)
            else:
                peak = "-" if row.peak_mb is None else f"{row.peak_mb:.1f}"
                print(
                    f"{row.stored:>10}{row.ready_s:>9.2f}{row.idle_mb:>9.1f}{row.idle_cpu:>10.2%}"
                    f"{row.server_cpu:>12.2%}{row.burst:>9}{peak:>9}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
