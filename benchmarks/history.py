"""Firing on top of a long history: the same burst with few and with many runs stored.

Daily campaigns that each have a history of completed runs, due at one instant.

Usage: python benchmarks/history.py [--campaigns N] [--runs 10000,10000000] [--repeat N] [--url URL]
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import psycopg
from durable_fire import measure_campaignd
from figures import Measured, middle
from ground import database, server, settle

FILL = """
INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, node, claimed_at, started_at,
                  start_before, finished_at)
SELECT c, at, gen_random_uuid(), 'completed', 1, 'former', at, at, at + interval '1 hour', at
FROM generate_series(1, %(campaigns)s::integer) AS c
CROSS JOIN LATERAL (SELECT timestamptz '2020-01-01 00:00Z' + n * interval '1 hour' AS at
                    FROM generate_series(1, %(each)s::integer) n) d
"""


def fill(connection: psycopg.Connection, campaigns: int, runs: int) -> None:
    """That many runs of the past, evenly over the campaigns to be; secondary indexes are anew."""
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'runs'"
        " AND indexname <> 'runs_pkey'"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}".encode())
    connection.execute(FILL.encode(), {"campaigns": campaigns, "each": runs // campaigns})
    for _, definition in indexes:
        connection.execute(definition.encode())
    settle(connection)


def clear(connection: psycopg.Connection) -> None:
    """The campaigns and what they come to; the runs stay, and the next campaigns have their ids."""
    connection.execute("TRUNCATE campaigns, campaign_events RESTART IDENTITY CASCADE")


def measure_history(server_url: str, campaigns: int, runs: int, times: int = 1) -> Measured:
    """Bursts on top of that many runs, in one database; the median of each figure."""
    with database(server_url, "bench_history") as url:
        found = [
            measure_campaignd(
                url,
                campaigns,
                daily=True,
                before=clear if number else lambda own: fill(own, campaigns, runs),
                lead=8 + runs / 1_000_000,
            )
            for number in range(times)
        ]
    return replace(middle(found), name=f"{runs:,} runs stored")


def main() -> None:
    """Measure each and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=10_000)
    parser.add_argument("--runs", default="10000,10000000")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
    given = parser.parse_args()
    rates = []
    with server(given.url) as url:
        for runs in map(int, given.runs.split(",")):
            row = measure_history(url, given.campaigns, runs, given.repeat)
            rates.append(row.fires_per_s)
            print(f"{row.name:>24}: {row.fires_per_s:.0f} fires/s", flush=True)
    print(f"{rates[0] / rates[-1]:.2f} times as fast with the few")


if __name__ == "__main__":
    main()
