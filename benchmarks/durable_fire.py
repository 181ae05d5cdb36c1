"""Measure durable fires a second: campaignd beside the raw SQL limit and APScheduler's job store.

All use one PostgreSQL server with its default durability, one after the other. N one-off schedules
are due at one instant T.

- fires/s: N / (last durable completion - T); a completion counts when another connection sees it.
  APScheduler records no completion. Its end is when the last row is gone and the last job began,
  so its figure is an upper bound. The limit writes campaignd's rows and does nothing else
  (`limit.py`).
- lateness: start of the action - T. The action does nothing: a target that only records the time,
  or an empty coroutine.

Usage: python benchmarks/durable_fire.py [--campaigns N] [--jobs N] [--repeat N] [--target noop|log]
           [--daily] [--api] [--no-limit] [--url URL] [--json]
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from database import (
    argument_parser,
    database,
    poll_interval,
    scalar,
    server,
    server_settings,
    sleep_until,
    utc,
    vacuum,
    wait_until,
)
from figures import BurstFigures, burst_figures, median_figures
from limit import measure_limit
from peers import APSCHEDULER, measure_peer
from processes import THIS, Checkout, noop_times, running_daemon
from stored_campaigns import insert_daily, insert_one_offs

DONE = "SELECT NOT EXISTS (SELECT FROM campaigns WHERE status IN ('scheduled', 'executing'))"
COLUMNS = {
    "fires": "fires",
    "fires_per_s": "fires/s",
    "late_p50_ms": "p50 ms",
    "late_p99_ms": "p99 ms",
    "late_max_ms": "max ms",
    "idle_mb": "idle MB",
    "peak_mb": "peak MB",
    "cpu_us": "CPU us",
}


def measure_campaignd(
    url: str,
    count: int,
    *,
    target: str = "noop",
    daily: bool = False,
    before: Callable[[psycopg.Connection], object] = lambda connection: None,
    lead: float = 6,
    api: bool = False,
    checkout: Checkout = THIS,
) -> BurstFigures:
    """Measure one burst of a daemon in its own process.

    Args:
        url: an empty database.
        count: number of campaigns due at one instant.
        target: the target of the campaigns, `noop` or `log`.
        daily: whether the campaigns are daily instead of one-offs.
        before: stores other rows before the campaigns.
        lead: seconds until the instant, without those that storing the campaigns takes.
        api: whether the daemon serves the HTTP API.
        checkout: whose daemon it is.

    Raises:
        SystemExit: the machine was too slow, or not every campaign ran once.
    """
    checkout.upgrade(url)
    insert = insert_daily if daily else insert_one_offs
    with (
        tempfile.TemporaryDirectory() as place,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        folder = Path(place)
        settings = checkout.noop_target(folder)
        before(connection)
        due = math.ceil(time.time() + lead + count / 15_000)
        insert(connection, count, utc(due), target)
        vacuum(connection)
        with running_daemon(url, folder, settings, api=api, checkout=checkout) as daemon:
            if time.time() > due - 1:
                raise SystemExit("campaignd: the machine was too slow to be ready in time")
            sleep_until(max(due - 2.5, time.time() + 0.5))
            daemon.usage.start()
            sleep_until(due)
            ended = wait_until(connection, DONE, poll_s=poll_interval(count))
            usage = daemon.usage.figures(count)
        runs = scalar(
            connection,
            "SELECT count(*) FROM runs WHERE status = 'completed' AND scheduled_for = %s",
            utc(due),
        )
        if runs != count:
            raise SystemExit(f"campaignd: {runs} runs completed for {count} campaigns")
        if target == "noop":
            began = [at for _, at in noop_times(folder)]
        else:  # the log target records no times, so the start is that of the run
            rows = connection.execute("SELECT extract(epoch FROM started_at)::float8 FROM runs")
            began = [row[0] for row in rows]
    if len(began) != count:
        raise SystemExit(f"campaignd: {len(began)} attempts for {count} campaigns")
    name = "campaignd" + ", daily" * daily + f", target {target}" * (target != "noop")
    return burst_figures(name, due, began, ended, **usage)


def repeated(
    server_url: str, name: str, times: int, measure: Callable[[str], BurstFigures]
) -> BurstFigures:
    """Return the median of several measurements, each in a new database."""
    found = []
    for _ in range(times):
        with database(server_url, name) as url:
            found.append(measure(url))
    return median_figures(found)


def main() -> None:
    """Measure all systems and print their figures and the ratio."""
    parser = argument_parser(__doc__)
    parser.add_argument("--campaigns", type=int, default=10_000, help="for campaignd")
    parser.add_argument("--jobs", type=int, default=1_000, help="for APScheduler; 0 leaves it out")
    parser.add_argument("--repeat", type=int, default=1, help="bursts for each median")
    parser.add_argument("--target", choices=("noop", "log"), default="noop")
    parser.add_argument("--daily", action="store_true", help="daily campaigns, not one-offs")
    parser.add_argument("--api", action="store_true", help="serve the HTTP API")
    parser.add_argument("--no-limit", action="store_true", help="leave the raw SQL limit out")
    parser.add_argument(
        "--json", action="store_true", help="print one object, and the table to standard error"
    )
    given = parser.parse_args()

    rows: list[BurstFigures] = []
    limit = None
    with server(given.url) as url:
        shown = server_settings(url)
        rows.append(
            repeated(
                url,
                "bench_campaignd",
                given.repeat,
                lambda own: measure_campaignd(
                    own, given.campaigns, target=given.target, daily=given.daily, api=given.api
                ),
            )
        )
        if not given.no_limit:
            limit = round(
                measure_limit(url, given.campaigns, daily=given.daily, times=given.repeat), 1
            )
        if given.jobs:
            rows.append(
                repeated(
                    url,
                    "bench_apscheduler",
                    given.repeat,
                    lambda own: measure_peer(APSCHEDULER, own, given.jobs),
                )
            )

    out = sys.stderr if given.json else sys.stdout
    print("PostgreSQL " + ", ".join(f"{name} {value}" for name, value in shown.items()), file=out)
    print(f"{'':<34}" + "".join(f"{head:>9}" for head in COLUMNS.values()), file=out)
    for row in rows:
        values = (getattr(row, key) for key in COLUMNS)
        print(f"{row.name:<34}" + "".join(f"{value:>9}" for value in values), file=out)
    ours = rows[0].fires_per_s
    result: dict[str, Any] = {"server": shown, "measured": [asdict(row) for row in rows]}
    if limit is not None:
        result |= {"limit": limit, "of_limit": round(ours / limit, 3)}
        print(f"raw SQL limit {limit:.0f} fires/s; campaignd {ours / limit:.0%} of it", file=out)
    if given.jobs:
        result["ratio"] = round(ours / rows[-1].fires_per_s, 2)
        print(f"ratio {result['ratio']:.1f}", file=out)
    if given.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
