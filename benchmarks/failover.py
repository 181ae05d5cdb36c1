"""Measure how soon one node replaces another that `kill -9` has ended.

Two daemons share one database, with default settings except for the target. Several such pairs run
side by side, each on its own database. Every kill is at a random moment, so that it has no fixed
relation to heartbeats and polls. There are two kinds:

- "due": occurrences of both shares come due more than a horizon after they were planned. Either
  node has therefore loaded only its own share. One node is killed up to 1.5 s before the instant.
  Measured from the kill or the instant, whichever is later, to the start of the last occurrence.
- "in-flight": one node has open attempts when the other node joins; then the first one is killed.
  Measured from the kill to the last of the next attempts.

Usage: python benchmarks/failover.py [--kills N] [--pairs N] [--kind due|in-flight] [--url URL]
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
from database import argument_parser, database, scalar, server, sleep_until, utc, wait_until
from nodes import HORIZON_S, SHARED
from processes import THIS, Daemon
from stored_campaigns import insert_one_offs

DUE_COUNT = 64
IN_FLIGHT_COUNT = 16
WITHIN_S = 60.0
SLOW = '[targets.slow]\ntype = "command"\nargv = ["sleep", "40"]\nconcurrency = 1000\n'

EXECUTING = "SELECT count(*) = %s FROM runs WHERE status = 'executing' AND node LIKE 'victim%%'"
STARTED = "SELECT count(*) = %s FROM campaign_events WHERE event = %s AND actor LIKE 'survivor%%'"
FIRED = "SELECT count(*) = %s FROM campaign_events WHERE event = 'fire'"
LAST = "SELECT extract(epoch FROM max(at))::float8 FROM campaign_events WHERE event = %s"


def wait(connection: psycopg.Connection[Any], statement: str, *binds: Any) -> None:
    """Poll until the statement's value is true."""
    wait_until(connection, statement, *binds, poll_s=0.01, within_s=WITHIN_S)


class Pair:
    """Two daemons on one database; one of them is killed again and again."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._config = folder / "campaignd.toml"
        self._config.write_text(SLOW)
        THIS.upgrade(url)

    def _start(self, name: str) -> Daemon:
        own = self._folder / name
        own.mkdir(exist_ok=True)
        settings = {"CAMPAIGND_CONFIG": str(self._config), "CAMPAIGND_NODE_NAME": name}
        return Daemon(self._url, own, settings)

    def kill_before_due(self, connection: psycopg.Connection[Any]) -> float:
        """Kill a node shortly before occurrences come due; return the seconds of delay."""
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
            return float(scalar(connection, LAST, "fire")) - max(due, killed_at)
        finally:
            victim.kill()
            survivor.kill()

    def kill_in_flight(self, connection: psycopg.Connection[Any]) -> float:
        """Kill a node with open attempts; return the seconds until the other node's attempts."""
        victim = self._start("victim")
        running = [victim]
        try:
            wait(connection, SHARED, 1)
            insert_one_offs(connection, IN_FLIGHT_COUNT, utc(time.time() + 1), "slow")
            wait(connection, EXECUTING, IN_FLIGHT_COUNT)
            running.append(self._start("survivor"))
            wait(connection, SHARED, 2)
            sleep_until(time.time() + random.uniform(0, 1))
            victim.process.kill()
            killed_at = time.time()
            wait(connection, STARTED, IN_FLIGHT_COUNT, "attempt")
            return float(scalar(connection, LAST, "attempt")) - killed_at
        finally:
            for daemon in running:
                daemon.kill()

    def run(self, kind: str, has_more: Callable[[], bool], report: Callable[[float], None]) -> None:
        """Kill a node, and report the seconds, as long as there are more kills to do."""
        kill = self.kill_before_due if kind == "due" else self.kill_in_flight
        with psycopg.connect(self._url, autocommit=True) as connection:
            while has_more():
                connection.execute("TRUNCATE campaigns, campaign_events, runs, nodes CASCADE")
                report(kill(connection))


def measure(url: str, kind: str, kills: int, pairs: int) -> list[float]:
    """Return the seconds of each kill; the pairs share the kills."""
    lock, begun, took = threading.Lock(), 0, list[float]()

    def has_more() -> bool:
        nonlocal begun
        with lock:
            begun += 1
            return begun <= kills

    def run_pair(number: int) -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            database(url, f"bench_failover_{number}") as own,
        ):
            Pair(own, Path(folder)).run(kind, has_more, took.append)

    with ThreadPoolExecutor(pairs) as pool:
        for done in [pool.submit(run_pair, number) for number in range(pairs)]:
            done.result()
    return took


def main() -> None:
    """Measure each kind and print the distribution."""
    parser = argument_parser(__doc__)
    parser.add_argument("--kills", type=int, default=30, help="kills of each kind")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of daemons side by side")
    parser.add_argument(
        "--kind", choices=("due", "in-flight"), action="append", help="repeatable (default: both)"
    )
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors; from kill -9 to the start elsewhere, s", flush=True)
    with server(given.url) as url:
        for kind in given.kind or ("due", "in-flight"):
            took = sorted(measure(url, kind, given.kills, given.pairs))
            tenths = statistics.quantiles(took, n=10) if len(took) > 1 else [took[0]] * 9
            print(
                f"{kind:>9}: {len(took)} kills, min {took[0]:.2f}, 10 % {tenths[0]:.2f}, "
                f"median {statistics.median(took):.2f}, 90 % {tenths[-1]:.2f}, max {took[-1]:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
