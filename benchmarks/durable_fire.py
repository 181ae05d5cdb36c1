"""Durable fires a second: campaignd beside the raw SQL limit and APScheduler's own SQL job store.

All on one PostgreSQL server with its default durability, one after the other: N one-off schedules
that are due at one instant T. Of each:

- fires/s: N / (last durable completion - T); the completion counts when another connection sees
  it. APScheduler records none: there it is the moment when the last job row is gone and the last
  job has begun; what a crash loses in between makes its figure an upper bound. The limit writes
  the rows that campaignd writes, by two connections and nothing else (`limit.py`).
- lateness: when the action began, minus T. The action is nothing: a target that only notes the
  time, an empty coroutine.

Usage: python benchmarks/durable_fire.py [--campaigns N] [--jobs N] [--repeat N] [--target noop|log]
           [--daily] [--url URL] [--json]
Without --url an embedded server is made for it and removed afterwards. --jobs 0 leaves APScheduler
out.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from figures import Measured, measured, middle
from ground import (
    daemon,
    database,
    done_at,
    facts,
    insert_daily,
    insert_one_offs,
    noop_target,
    noop_times,
    one,
    poll_for,
    server,
    settle,
    sleep_until,
    utc,
)
from limit import measure_limit
from peers import APSCHEDULER, measure_peer

from storage.migrate import upgrade

# --- campaignd ----------------------------------------------------------------------------------


def measure_campaignd(
    url: str,
    count: int,
    *,
    target: str = "noop",
    daily: bool = False,
    before: Callable[[psycopg.Connection], object] = lambda connection: None,
    lead: float = 6,
) -> Measured:
    """A daemon process of its own, as `campaignd run --no-api` starts it.

    Args:
        url: an empty database.
        count: campaigns due at one instant.
        target: whose action it is.
        daily: recurring campaigns instead of one-offs.
        before: stores something else first.
        lead: seconds until the instant, beside those that storing the campaigns takes.
    """
    upgrade(url)
    insert = insert_daily if daily else insert_one_offs
    left = "SELECT EXISTS (SELECT FROM campaigns WHERE status IN ('scheduled', 'executing'))"
    with (
        tempfile.TemporaryDirectory() as place,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        folder = Path(place)
        before(connection)
        due = math.ceil(time.time() + lead + count / 15_000)
        insert(connection, count, utc(due), target)
        settle(connection)
        with daemon(url, folder, noop_target(folder)) as running:
            if time.time() > due - 1:
                raise SystemExit("campaignd: the machine was too slow to be ready in time")
            sleep_until(max(due - 2.5, time.time() + 0.5))
            running.footprint.rest()
            sleep_until(due)
            ended = done_at(connection, left, poll_for(count))
            more = {
                "idle_mb": running.footprint.idle_mb,
                "peak_mb": running.footprint.peak_mb(),
                "cpu_us": running.footprint.cpu_s() / count * 1e6,
            }
        runs = one(
            connection,
            "SELECT count(*) FROM runs WHERE status = 'completed' AND scheduled_for = %s",
            utc(due),
        )
        if runs != count:
            raise SystemExit(f"campaignd: {runs} runs completed for {count} campaigns")
        if target == "noop":
            began = [at for _, at in noop_times(folder)]
        else:  # the log's own action is a line; the claim is what it began with
            rows = connection.execute("SELECT extract(epoch FROM started_at)::float8 FROM runs")
            began = [row[0] for row in rows]
    if len(began) != count:
        raise SystemExit(f"campaignd: {len(began)} attempts for {count} campaigns")
    name = "campaignd" + ", daily" * daily + f", target {target}" * (target != "noop")
    return measured(name, due, began, ended, **more)


# --- together -----------------------------------------------------------------------------------


def repeated(server: str, name: str, times: int, measure: Callable[[str], Measured]) -> Measured:
    """The median over several runs, each in a new database."""
    found = []
    for _ in range(times):
        with database(server, name) as url:
            found.append(measure(url))
    return middle(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all and say what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--campaigns", type=int, default=10_000, help="for campaignd")
    parser.add_argument("--jobs", type=int, default=1_000, help="for APScheduler")
    parser.add_argument("--repeat", type=int, default=1, help="medians of so many runs")
    parser.add_argument("--target", choices=("noop", "log"), default="noop")
    parser.add_argument("--daily", action="store_true", help="recurring campaigns, not one-offs")
    parser.add_argument("--no-limit", action="store_true", help="leave the raw limit out")
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
    parser.add_argument("--json", action="store_true", help="one object; the table goes to stderr")
    given = parser.parse_args(arguments)

    rows: list[Measured] = []
    limit = None
    with server(given.url) as url:
        shown = facts(url)
        rows.append(
            repeated(
                url,
                "bench_campaignd",
                given.repeat,
                lambda own: measure_campaignd(
                    own, given.campaigns, target=given.target, daily=given.daily
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
    heads = ("fires", "fires/s", "p50 ms", "p99 ms", "max ms", "idle MB", "peak MB", "CPU us")
    print(f"{'':<34}" + "".join(f"{head:>9}" for head in heads), file=out)
    for row in rows:
        name, fires, rate, *rest = asdict(row).values()
        figures = "".join(f"{'-' if value is None else value:>9}" for value in rest)
        print(f"{name:<34}{fires:>9}{rate:>9.0f}{figures}", file=out)
    ours = rows[0].fires_per_s
    result: dict[str, Any] = {"server": shown, "measured": [asdict(row) for row in rows]}
    if limit is not None:
        result |= {"limit": limit, "of_limit": round(ours / limit, 3)}
        print(f"raw SQL limit {limit:.0f} fires/s; of it {ours / limit:.0%}", file=out)
    if given.jobs:
        result["ratio"] = round(ours / rows[-1].fires_per_s, 2)
        print(f"ratio {result['ratio']:.1f}", file=out)
    if given.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
