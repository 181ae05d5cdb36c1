"""Measure what reserving runs before their instant could gain at most, by SQL alone.

Two connections of one process, which does no other work, fire N one-offs that are due at one
instant T. They write the rows that campaignd writes:

- claimed at T: as campaignd does it. An action starts when its claim is committed.
- reserved ahead: before T each timer is marked as this node's. At T the marks are read, together
  with what an edit or a pause may have changed, and the actions start. One statement for each batch
  then writes run, campaign and both events in their final state. The marking itself happens
  before T.

Usage: python benchmarks/reserving.py [--campaigns N] [--repeat N] [--url URL]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
from database import argument_parser, database, server, vacuum
from limit import claim_and_finish, columns, require_completed, run_on_all_connections
from processes import THIS
from stored_campaigns import insert_one_offs

BATCH = 1_000
RESERVE = """
CREATE UNLOGGED TABLE batches (number bigint PRIMARY KEY, taken boolean NOT NULL DEFAULT false);
CREATE TABLE reserved (campaign_id bigint PRIMARY KEY, revision bigint, fire_at timestamptz,
                       run_id uuid, number bigint);
"""
MARK = """
INSERT INTO reserved
SELECT campaign_id, revision, fire_at, gen_random_uuid(),
       row_number() OVER (ORDER BY fire_at, campaign_id) / %(batch)s
FROM timers
"""
CHECK = """
SELECT r.campaign_id, r.fire_at, r.run_id
FROM reserved r JOIN timers t ON t.campaign_id = r.campaign_id AND t.revision = r.revision
                             AND t.fire_at = r.fire_at
JOIN campaigns c ON c.id = r.campaign_id AND c.status = 'scheduled'
WHERE r.number = %(number)s AND t.fire_at <= now()
"""
WRITE = """
WITH item AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(ats)s::timestamptz[], %(runs)s::uuid[])
        AS i (campaign_id, scheduled_for, run_id)
), spent AS (
    DELETE FROM timers t USING item i WHERE t.campaign_id = i.campaign_id
), unmarked AS (
    DELETE FROM reserved r USING item i WHERE r.campaign_id = i.campaign_id
), made AS (
    INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, node, claimed_at, started_at,
                      start_before, finished_at)
    SELECT campaign_id, scheduled_for, run_id, 'completed', 1, 'limit', now(), now(),
           scheduled_for + interval '10 hours', now()
    FROM item
), moved AS (
    UPDATE campaigns c SET status = 'completed', has_due = true, more_to_come = false,
                           has_completed = true, updated_at = now()
    FROM item i WHERE c.id = i.campaign_id
)
INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor, run_id,
                             scheduled_for)
SELECT campaign_id, now(), event, was, becomes, cause, 'limit', run_id, scheduled_for
FROM item CROSS JOIN (VALUES ('fire', 'scheduled', 'executing', 'due'),
                             ('run_ended', 'executing', 'completed', 'completed'))
         AS e (event, was, becomes, cause)
"""


class Timing(NamedTuple):
    """Seconds from T to the last start and to the last completion, and the seconds before T."""

    started: float
    completed: float
    before: float


def measure(url: str, count: int, *, ahead: bool) -> Timing:
    """Measure one burst, reserved ahead or claimed at T."""
    with database(url, "bench_reserving") as own_url:
        THIS.upgrade(own_url)
        with psycopg.connect(own_url, autocommit=True) as connection:
            insert_one_offs(connection, count, datetime.now(UTC))
            vacuum(connection)
            before = time.perf_counter()
            if ahead:
                connection.execute(RESERVE)
                connection.execute(MARK, {"batch": BATCH})
            before = time.perf_counter() - before
            vacuum(connection)
            numbers = iter(range(count // BATCH + 1))
            starts: list[float] = []

            def work(own: psycopg.Connection) -> None:
                last = _write_reserved(own, numbers) if ahead else claim_and_finish(own, BATCH)
                if last is not None:
                    starts.append(last)

            began, took = run_on_all_connections(own_url, work)
            require_completed(connection, count)
    return Timing(max(starts) - began, took, before)


def _write_reserved(own: psycopg.Connection, numbers: Iterator[int]) -> float | None:
    started = None
    for number in numbers:
        rows = own.execute(CHECK, {"number": number}, prepare=True).fetchall()
        started = time.perf_counter()
        if rows:
            own.execute(WRITE, columns(rows), prepare=True)
    return started


def main() -> None:
    """Measure both in turn and print the medians."""
    parser = argument_parser(__doc__)
    parser.add_argument("--campaigns", type=int, default=10_000, help="due at once")
    parser.add_argument("--repeat", type=int, default=5, help="bursts for each median")
    given = parser.parse_args()
    found: dict[bool, list[Timing]] = {False: [], True: []}
    with server(given.url) as url:
        for _ in range(given.repeat):
            for ahead, timings in found.items():
                timings.append(measure(url, given.campaigns, ahead=ahead))
    for ahead, timings in found.items():
        started, completed, before = (
            statistics.median(each) for each in zip(*timings, strict=True)
        )
        print(
            f"{'reserved ahead' if ahead else 'claimed at T':<16}"
            f" last start {started * 1000:.0f} ms after T,"
            f" {given.campaigns / completed:,.0f} fires/s, {before * 1000:.0f} ms before T"
        )


if __name__ == "__main__":
    main()
