"""Several daemons on one database: how throughput grows with them, and what limits it.

N one-off campaigns due at one instant T, with 1, 2 and 4 daemons on one server with its default
durability: runs/s = N / (last durable completion - T). Beside it the processor time that the
daemons and the server used for it: what is used up is what limits. Two kinds:

- "ahead": planned more than a horizon ahead while all daemons run, so that each has loaded its
  share and nothing else.
- "just now": planned a few seconds before, so that every daemon has loaded all of it, and they
  compete.

How soon one daemon replaces another is measured by failover.py.

Usage: python benchmarks/nodes.py [--campaigns N] [--nodes 1,2,4] [--repeat N] [--url URL]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import psycopg
from ground import Daemon, database, done_at, insert_one_offs, one, server, sleep_until, utc

from storage.migrate import upgrade

HORIZON_S = 60.0
"""The default of `scheduler.horizon`."""
KINDS = {"ahead": HORIZON_S + 5, "just now": 5.0}
SHARED = "SELECT count(*) = %s AND sum(shards) = 64 AND min(shards) > 0 FROM nodes"
LEFT = "SELECT count(*) FROM campaigns WHERE status <> 'completed'"


def used(processes: Sequence[psutil.Process]) -> float:
    """Processor seconds so far, children included."""
    total = 0.0
    for process in processes:
        for each in (process, *process.children(recursive=True)):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def burst(url: str, count: int, nodes: int, ahead_s: float) -> dict[str, float]:
    """The figures of one burst."""
    upgrade(url)
    with ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        running = []
        for number in range(nodes):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            running.append(Daemon(url, folder, {"CAMPAIGND_NODE_NAME": f"node{number}"}))
            stack.callback(running[-1].stop)
        while not one(connection, SHARED, nodes):
            time.sleep(0.02)
        due = time.time() + ahead_s + count / 10_000
        insert_one_offs(connection, count, utc(due))
        connection.execute("VACUUM ANALYZE")
        if time.time() > due - ahead_s:
            raise SystemExit("the machine was too slow to be ready in time")
        pid = int(one(connection, "SELECT pg_backend_pid()"))
        postmaster = [psutil.Process(pid).parent() or psutil.Process(pid)]
        daemons = [psutil.Process(each.process.pid) for each in running]
        sleep_until(due - 0.2)
        before = used(daemons), used(postmaster)
        done_at(connection, LEFT, 0.05)
        after = used(daemons), used(postmaster)
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
        "daemons": (after[0] - before[0]) / took,
        "server": (after[1] - before[1]) / took,
    }


def main() -> None:
    """Measure and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--campaigns", type=int, default=20_000)
    parser.add_argument("--nodes", default="1,2,4")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--kind", choices=sorted(KINDS), action="append")
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
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
                        found.append(burst(own, given.campaigns, nodes, KINDS[kind]))
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
    sys.exit(main())
