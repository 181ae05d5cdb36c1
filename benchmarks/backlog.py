"""Measure a backlog: many campaigns are due at once, as after a downtime, and others come on time.

All have one target. The daemon starts with N one-off campaigns that are an hour overdue, and from
then on one more is due each second. Printed are the seconds and the memory that the backlog takes,
and the lateness of the campaigns that come due meanwhile.

Usage: python benchmarks/backlog.py [--due N] [--url URL]
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psycopg
from database import argument_parser, database, server, utc, vacuum, wait_until
from figures import Lateness, lateness
from processes import THIS, noop_times, running_daemon
from stored_campaigns import insert_one_offs

MAX_DRAIN_S = 1_800
DRAINED = """
SELECT NOT EXISTS (SELECT FROM timers WHERE fire_at < now() - interval '30 minutes')
   AND NOT EXISTS (SELECT FROM campaigns WHERE status = 'executing')
"""


@dataclass(frozen=True)
class Drained:
    """The figures of one backlog."""

    due: int
    fires_per_s: float
    took_s: float
    ready_s: float
    peak_mb: float
    on_time: Lateness


def measure_backlog(url: str, count: int) -> Drained:
    """Measure from the start of the daemon to the end of the last overdue run.

    Raises:
        SystemExit: a campaign did not run, or the backlog is too small to measure.
    """
    THIS.upgrade(url)
    with tempfile.TemporaryDirectory() as place, psycopg.connect(url, autocommit=True) as own:
        folder = Path(place)
        insert_one_offs(own, count, utc(time.time() - 3600), "noop")
        insert_one_offs(own, MAX_DRAIN_S, utc(time.time()), "noop", apart=timedelta(seconds=1))
        vacuum(own)
        began = time.time()
        with running_daemon(url, folder, THIS.noop_target(folder)) as daemon:
            took = wait_until(own, DRAINED, poll_s=0.25, within_s=MAX_DRAIN_S) - began
            peak = daemon.usage.peak_mb()
        times = noop_times(folder)
    late = [started - at for at, started in times if began + 2 < at < began + took]
    drained = len(times) - sum(at >= began - 600 for at, _ in times)
    if drained != count:
        raise SystemExit(f"{drained} fires of {count}")
    if not late:
        raise SystemExit(f"no campaign came due while {count} drained; --due is too small")
    return Drained(
        count,
        round(count / took, 1),
        round(took, 1),
        round(daemon.ready_s, 2),
        round(peak, 1),
        lateness("on time meanwhile", late),
    )


def main() -> None:
    """Measure one backlog and print its figures."""
    parser = argument_parser(__doc__)
    parser.add_argument("--due", type=int, default=1_000_000, help="overdue campaigns")
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
