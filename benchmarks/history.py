"""Measure a burst of daily campaigns on top of few and of many stored runs.

The campaigns are due at one instant. Each has a history of completed runs.

Usage: python benchmarks/history.py [--campaigns N] [--runs 10000,10000000] [--repeat N] [--url URL]
"""

from __future__ import annotations

from dataclasses import replace

import psycopg
from database import argument_parser, database, server, vacuum
from durable_fire import measure_campaignd
from figures import BurstFigures, median_figures

FILL = """
INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, node, claimed_at, started_at,
                  start_before, finished_at)
SELECT c, at, gen_random_uuid(), 'completed', 1, 'former', at, at, at + interval '1 hour', at
FROM generate_series(1, %(campaigns)s::integer) AS c
CROSS JOIN LATERAL (SELECT timestamptz '2020-01-01 00:00Z' + n * interval '1 hour' AS at
                    FROM generate_series(1, %(each)s::integer) n) d
"""


def fill(connection: psycopg.Connection, campaigns: int, runs: int) -> None:
    """Insert past runs, spread evenly over the ids of the coming campaigns; rebuild the indexes."""
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'runs'"
        " AND indexname <> 'runs_pkey'"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}".encode())
    connection.execute(FILL.encode(), {"campaigns": campaigns, "each": runs // campaigns})
    for _, definition in indexes:
        connection.execute(definition.encode())
    vacuum(connection)


def clear(connection: psycopg.Connection) -> None:
    """Delete the campaigns but keep the runs, so that the next campaigns get the same ids."""
    connection.execute("TRUNCATE campaigns, campaign_events RESTART IDENTITY CASCADE")


def measure_history(server_url: str, campaigns: int, runs: int, times: int = 1) -> BurstFigures:
    """Measure bursts on top of stored runs in one database; return the median of each figure."""
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
    return replace(median_figures(found), name=f"{runs:,} runs stored")


def main() -> None:
    """Measure each history and print the rates and their ratio."""
    parser = argument_parser(__doc__)
    parser.add_argument("--campaigns", type=int, default=10_000, help="due at once")
    parser.add_argument("--runs", default="10000,10000000", help="stored runs, fewest first")
    parser.add_argument("--repeat", type=int, default=1, help="bursts for each median")
    given = parser.parse_args()
    rates = []
    with server(given.url) as url:
        for runs in map(int, given.runs.split(",")):
            row = measure_history(url, given.campaigns, runs, given.repeat)
            rates.append(row.fires_per_s)
            print(f"{row.name:>24}: {row.fires_per_s:.0f} fires/s", flush=True)
    print(f"{rates[0] / rates[-1]:.2f} times the rate with the fewest runs stored")


if __name__ == "__main__":
    main()
