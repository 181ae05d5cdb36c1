"""How soon one node does what another, killed by `kill -9`, had coming or had in hand.

Two daemons on one database, default settings but for the target; several such pairs side by side,
each on a database of its own. Every kill is at a random moment, so that it has no fixed relation
to heartbeats and looks. Of each kind:

- "due": occurrences of both shares come due more than a horizon after they were planned, so that
  either node has loaded its own and not the other's; one node is killed up to 1.5 s before. From
  the kill or the instant, whichever is later, to the start of the last of them elsewhere.
- "in hand": one node has attempts under way when the other joins, and is killed. From the kill to
  the next attempt of the last of them elsewhere.

Usage: python benchmarks/failover.py [--kills N] [--pairs N] [--kind due|in-hand] [--url URL]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
from ground import Daemon, database, insert_one_offs, one, server, sleep_until, utc

from storage.migrate import upgrade

DUE_COUNT = 64
IN_HAND_COUNT = 16
HORIZON_S = 60.0
"""The default of `scheduler.horizon`."""
WITHIN_S = 60.0
SLOW = '[targets.slow]\ntype = "command"\nargv = ["sleep", "40"]\nconcurrency = 1000\n'

SHARED = (
    "SELECT count(*) = %s AND sum(shards) = 64 AND min(shards) > 0 FROM nodes"
    " WHERE lease_until > now()"
)
HELD = "SELECT count(*) = %s FROM runs WHERE status = 'executing' AND node LIKE 'victim%%'"
STARTED = "SELECT count(*) = %s FROM campaign_events WHERE event = %s AND actor LIKE 'survivor%%'"
FIRED = "SELECT count(*) = %s FROM campaign_events WHERE event = 'fire'"
_UPGRADING = threading.Lock()
"""Alembic works on one database at a time in a process."""

LAST = "SELECT extract(epoch FROM max(at))::float8 FROM campaign_events WHERE event = %s"


def wait(connection: psycopg.Connection[Any], statement: str, *binds: Any) -> None:
    """Until the statement's one value is true; a benchmark that cannot go on says so and ends."""
    deadline = time.monotonic() + WITHIN_S
    while not one(connection, statement, *binds):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {WITHIN_S:.0f} s: {statement} {binds}")
        time.sleep(0.01)


class Pair:
    """Two daemons on one database; one is killed, and that again and again."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._config = folder / "campaignd.toml"
        self._config.write_text(SLOW)
        with _UPGRADING:
            upgrade(url)

    def _start(self, name: str) -> Daemon:
        own = self._folder / name
        own.mkdir(exist_ok=True)
        return Daemon(
            self._url,
            own,
            {"CAMPAIGND_CONFIG": str(self._config), "CAMPAIGND_NODE_NAME": name},
        )

    def due(self, connection: psycopg.Connection[Any]) -> float:
        """One kill shortly before occurrences come due."""
        victim, survivor = self._start("victim"), self._start("survivor")
        try:
            wait(connection, SHARED, 2)
            due = time.time() + HORIZON_S + 3
            insert_one_offs(connection, DUE_COUNT, utc(due))
            sleep_until(due - random.uniform(0.05, 1.5))
            victim.process.kill()
            killed_at = time.time()
            wait(connection, FIRED, DUE_COUNT)
            wait(connection, STARTED, DUE_COUNT, "fire")
            return float(one(connection, LAST, "fire")) - max(due, killed_at)
        finally:
            end(victim, survivor)

    def in_flight(self, connection: psycopg.Connection[Any]) -> float:
        """One kill while attempts are under way."""
        victim = self._start("victim")
        running = [victim]
        try:
            wait(connection, SHARED, 1)
            insert_one_offs(connection, IN_HAND_COUNT, utc(time.time() + 1), "slow")
            wait(connection, HELD, IN_HAND_COUNT)
            running.append(self._start("survivor"))
            wait(connection, SHARED, 2)
            sleep_until(time.time() + random.uniform(0, 1))
            victim.process.kill()
            killed_at = time.time()
            wait(connection, STARTED, IN_HAND_COUNT, "attempt")
            return float(one(connection, LAST, "attempt")) - killed_at
        finally:
            end(*running)

    def run(self, kind: str, more: Callable[[], bool], report: Callable[[float], None]) -> None:
        """Kill as long as there are more to do."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            while more():
                connection.execute("TRUNCATE campaigns, campaign_events, runs, nodes CASCADE")
                act = self.due if kind == "due" else self.in_flight
                report(act(connection))


def end(*running: Daemon) -> None:
    """Gone, with what they started."""
    for each in running:
        each.process.kill()
        each.process.wait()


def measure(url: str, kind: str, kills: int, pairs: int) -> list[float]:
    """The seconds of so many kills, shared by so many pairs."""
    lock, begun, took = threading.Lock(), 0, list[float]()

    def more() -> bool:
        nonlocal begun
        with lock:
            begun += 1
            return begun <= kills

    def pair(number: int) -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            database(url, f"bench_failover_{number}") as own,
        ):
            Pair(own, Path(folder)).run(kind, more, took.append)

    with ThreadPoolExecutor(pairs) as pool:
        for done in [pool.submit(pair, number) for number in range(pairs)]:
            done.result()
    return took


def main() -> None:
    """Measure and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--kind", choices=("due", "in-hand"), action="append")
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors; from kill -9 to the start elsewhere, s", flush=True)
    with server(given.url) as url:
        for kind in given.kind or ("due", "in-hand"):
            took = sorted(measure(url, kind, given.kills, given.pairs))
            tenths = statistics.quantiles(took, n=10) if len(took) > 1 else [took[0]] * 9
            print(
                f"{kind:>8}: {len(took)} kills, min {took[0]:.2f}, 10 % {tenths[0]:.2f}, "
                f"median {statistics.median(took):.2f}, 90 % {tenths[-1]:.2f}, max {took[-1]:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
