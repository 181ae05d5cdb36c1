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
           [--daily] [--nodes N] [--api] [--no-limit] [--url URL] [--json]
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from database import (
    argument_parser,
    database,
    poll_interval,
    require_time_until,
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
from nodes import SHARED
from peer_burst import measure_peer
from peers import APSCHEDULER
from processes import THIS, Checkout, noop_times, running_daemon
from stored_campaigns import insert_daily, insert_one_offs

LEAD_S = 5.0
"""Seconds until the instant, without those that storing the campaigns and several daemons take."""
NODES_HORIZON_S = 5.0
"""Horizon of several daemons, in seconds: short, so that they have joined before it begins."""
DONE = "SELECT NOT EXISTS (SELECT FROM campaigns WHERE status IN ('scheduled', 'executing'))"
COLUMNS = {
    "fires": "fires",
    "fires_per_s": "fires/s",
    "late_p50_ms": "p50 ms",
    "late_p99_ms": "p99 ms",
    "late_p999_ms": "p99.9 ms",
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
    nodes: int = 1,
    before: Callable[[psycopg.Connection], object] = lambda connection: None,
    lead: float = LEAD_S,
    api: bool = False,
    checkout: Checkout = THIS,
) -> BurstFigures:
    """Measure one burst of daemons in their own processes.

    Args:
        url: an empty database.
        count: number of campaigns due at one instant.
        target: the target of the campaigns, `noop` or `log`.
        daily: whether the campaigns are daily instead of one-offs.
        nodes: number of daemons. Several daemons have all joined before the instant comes within
            their horizon, so that each of them loads only its share.
        before: stores other rows before the campaigns.
        lead: see `LEAD_S`.
        api: whether the daemon serves the HTTP API.
        checkout: whose daemon it is.

    Raises:
        TooSlow: the machine was too slow to be ready in time.
        SystemExit: not every campaign ran once.
    """
    checkout.upgrade(url)
    insert = insert_daily if daily else insert_one_offs
    with ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(nodes)]
        before(connection)
        joining = NODES_HORIZON_S + 2 * nodes if nodes > 1 else 0
        due = math.ceil(time.time() + lead + joining + count / 15_000)
        insert(connection, count, utc(due), target)
        vacuum(connection)
        with ExitStack() as running:
            daemons = []
            for number, folder in enumerate(folders):
                settings = checkout.noop_target(folder)
                if nodes > 1:
                    settings["CAMPAIGND_NODE_NAME"] = f"node{number}"
                    settings["CAMPAIGND_SCHEDULER__HORIZON"] = str(NODES_HORIZON_S)
                started = running_daemon(url, folder, settings, api=api, checkout=checkout)
                daemons.append(running.enter_context(started))
            if nodes > 1:
                wait_until(connection, SHARED, nodes, poll_s=0.05)
            require_time_until(due - (NODES_HORIZON_S if nodes > 1 else 1), "campaignd")
            sleep_until(max(due - 2.5, time.time() + 0.5))
            for daemon in daemons:
                daemon.usage.start()
            sleep_until(due)
            ended = wait_until(connection, DONE, poll_s=poll_interval(count))
            usages = [daemon.usage.figures(count) for daemon in daemons]
        runs = scalar(
            connection,
            "SELECT count(*) FROM runs WHERE status = 'completed' AND scheduled_for = %s",
            utc(due),
        )
        if runs != count:
            raise SystemExit(f"campaignd: {runs} runs completed for {count} campaigns")
        if target == "noop":
            began = [at for folder in folders for _, at in noop_times(folder)]
        else:  # the log target records no times, so the start is that of the run
            rows = connection.execute("SELECT extract(epoch FROM started_at)::float8 FROM runs")
            began = [row[0] for row in rows]
    if len(began) != count:
        raise SystemExit(f"campaignd: {len(began)} attempts for {count} campaigns")
    name = "campaignd" + ", daily" * daily + f", target {target}" * (target != "noop")
    name += f", {nodes} nodes" * (nodes > 1)
    usage = {key: sum(each[key] for each in usages) for key in usages[0]}
    return burst_figures(name, due, began, ended, count, count, **usage)


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
    parser.add_argument("--nodes", type=int, default=1, help="daemons on one database")
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
                    own,
                    given.campaigns,
                    target=given.target,
                    daily=given.daily,
                    nodes=given.nodes,
                    api=given.api,
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
                    lambda own: measure_peer(own, APSCHEDULER, given.jobs),
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
