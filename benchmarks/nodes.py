"""Measure several daemons on one database: how throughput grows, and what limits it.

N one-off campaigns are due at one instant T, with 1, 2 and 4 daemons on one server with default
durability: runs/s = N / (last durable completion - T). Beside it is the processor time that the
daemons and the server used. The one that is used up is the limit. There are two kinds:

- "ahead": planned more than a horizon ahead while all daemons run. Each daemon has loaded only its
  own share.
- "just now": planned a few seconds before T. Every daemon has loaded all campaigns, and the daemons
  compete.

`failover.py` measures how soon one daemon replaces another.

Usage: python benchmarks/nodes.py [--campaigns N] [--nodes 1,2,4] [--repeat N] [--kind KIND]
           [--url URL]
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg
from database import argument_parser, database, server, sleep_until, utc, wait_until
from processes import THIS, running_daemon, server_usage
from stored_campaigns import insert_one_offs

HORIZON_S = 60.0
"""The default of `scheduler.horizon`."""
KINDS = {"ahead": HORIZON_S + 5, "just now": 5.0}
"""Seconds before T at which the campaigns are stored."""
SHARED = (
    "SELECT count(*) = %s AND sum(shards) = 64 AND min(shards) > 0 FROM nodes"
    " WHERE lease_until > now()"
)
"""True once that many live nodes share all shards."""
DONE = "SELECT NOT EXISTS (SELECT FROM campaigns WHERE status <> 'completed')"


def measure_burst(url: str, count: int, nodes: int, ahead_s: float) -> dict[str, float]:
    """Return the figures of one burst of several daemons, in an empty database."""
    THIS.upgrade(url)
    with ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        daemons = []
        for number in range(nodes):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            settings = {"CAMPAIGND_NODE_NAME": f"node{number}"}
            daemons.append(stack.enter_context(running_daemon(url, folder, settings)))
        wait_until(connection, SHARED, nodes, poll_s=0.02)
        due = time.time() + 1 + ahead_s + count / 10_000
        insert_one_offs(connection, count, utc(due))
        connection.execute("VACUUM ANALYZE")
        if time.time() > due - ahead_s:
            raise SystemExit("the machine was too slow to be ready in time")
        sleep_until(due - 0.2)
        of_server = server_usage(connection)
        for daemon in daemons:
            daemon.usage.start()
        wait_until(connection, DONE, poll_s=0.05)
        daemons_cpu_s = sum(daemon.usage.cpu_s() for daemon in daemons)
        server_cpu_s = of_server.cpu_s()
        first, last, runs = connection.execute(
            "SELECT extract(epoch FROM min(started_at))::float8,"
            " extract(epoch FROM max(finished_at))::float8, count(*) FROM runs"
        ).fetchone() or (due, due, 0)
        if runs != count:
            raise SystemExit(f"{runs} runs for {count} campaigns")
    took = last - due
    return {
        "runs/s": count / took,
        "first ms": (first - due) * 1000,
        "whole s": took,
        "daemons": daemons_cpu_s / took,
        "server": server_cpu_s / took,
    }


def main() -> None:
    """Measure each kind with each number of daemons and print the medians."""
    parser = argument_parser(__doc__)
    parser.add_argument("--campaigns", type=int, default=20_000, help="due at once")
    parser.add_argument("--nodes", default="1,2,4", help="numbers of daemons")
    parser.add_argument("--repeat", type=int, default=3, help="bursts for each median")
    parser.add_argument(
        "--kind", choices=sorted(KINDS), action="append", help="repeatable (default: both)"
    )
    given = parser.parse_args()
    print(
        f"{os.cpu_count()} processors; {given.campaigns} campaigns at one instant; "
        f"medians of {given.repeat}, runs/s from least to most"
    )
    print("planned   nodes   runs/s (from - to)      first ms  whole s  daemons' CPU  server's CPU")
    with server(given.url) as url:
        for kind in given.kind or KINDS:
            for nodes in map(int, given.nodes.split(",")):
                found = []
                for _ in range(given.repeat):
                    with database(url, f"bench_nodes_{nodes}") as own:
                        found.append(measure_burst(own, given.campaigns, nodes, KINDS[kind]))
                line = {name: statistics.median(each[name] for each in found) for name in found[0]}
                speeds = sorted(each["runs/s"] for each in found)
                print(
                    f"{kind:<9}{nodes:>6}{line['runs/s']:>9.0f}"
                    f" ({speeds[0]:.0f} - {speeds[-1]:.0f})"
                    f"{line['first ms']:>14.1f}{line['whole s']:>9.2f}"
                    f"{line['daemons']:>14.2f}{line['server']:>14.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
