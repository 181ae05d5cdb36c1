"""A long downtime is over: very many campaigns are due at once, while others come due on time.

All for one target. The daemon starts with N one-off campaigns an hour overdue, and from then on
one more comes due each second. How long the backlog takes, how much memory, and how late those
start that come due meanwhile.

Usage: python benchmarks/backlog.py [--due N] [--url URL]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
from ground import (
    daemon,
    database,
    insert_one_offs,
    noop_target,
    noop_times,
    one,
    server,
    settle,
    utc,
)
from sparse import Lateness, lateness

from storage.migrate import upgrade

LONGEST_S = 1_800


@dataclass(frozen=True)
class Drained:
    """How a backlog went."""

    due: int
    fires_per_s: float
    took_s: float
    ready_s: float
    peak_mb: float
    on_time: Lateness


def measure_backlog(url: str, count: int) -> Drained:
    """Seen through to the last of them."""
    upgrade(url)
    with tempfile.TemporaryDirectory() as place, psycopg.connect(url, autocommit=True) as own:
        folder = Path(place)
        insert_one_offs(own, count, utc(time.time() - 3600), "noop")
        insert_one_offs(own, LONGEST_S, utc(time.time()), "noop", apart=timedelta(seconds=1))
        settle(own)
        began = time.time()
        with daemon(url, folder, noop_target(folder)) as running:
            left = (
                "SELECT EXISTS (SELECT FROM timers WHERE fire_at < now() - interval '30 minutes')"
            )
            deadline = time.monotonic() + LONGEST_S
            while one(own, left) or one(
                own,
                "SELECT EXISTS (SELECT FROM campaigns WHERE status = 'executing')",
            ):
                if time.monotonic() > deadline:
                    raise SystemExit("not drained")
                time.sleep(0.25)
            took = time.time() - began
            peak = running.footprint.peak_mb()
        times = noop_times(folder)
    late = [begun - at for at, begun in times if began + 2 < at < began + took]
    drained = len(times) - sum(at >= began - 600 for at, _ in times)
    if drained != count:
        raise SystemExit(f"{drained} fires of {count}")
    return Drained(
        count,
        round(count / took, 1),
        round(took, 1),
        round(running.ready_s, 2),
        round(peak, 1),
        lateness("on time meanwhile", late),
    )


def main() -> None:
    """Measure and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--due", type=int, default=1_000_000)
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
    given = parser.parse_args()
    with server(given.url) as url, database(url, "bench_backlog") as own:
        found = measure_backlog(own, given.due)
    late = found.on_time
    print(
        f"{found.due} due at once: {found.took_s:.0f} s, {found.fires_per_s:.0f} fires/s; "
        f"ready after {found.ready_s:.1f} s, {found.peak_mb:.0f} MB at most\n"
        f"{late.fires} that came due meanwhile: late p50 {late.p50_ms:.1f} ms, "
        f"p99 {late.p99_ms:.1f} ms, max {late.max_ms:.1f} ms"
    )


if __name__ == "__main__":
    main()
