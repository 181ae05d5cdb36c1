"""What reserving ahead of the instant could gain at most: by SQL alone, as the raw limit.

Two ways to carry out N one-offs that are due at one instant T, each by two connections of a process
that does no other work, with the rows that campaignd writes:

- claimed at T: as campaignd does it. An action starts when its claim is committed.
- reserved ahead: before T each timer was marked as this node's; at T the marks are only read, with
  what an edit or a pause may have changed since, the actions start, and one statement for each
  batch writes run, campaign and both events, final. What the marking itself costs comes before T.

Usage: python benchmarks/reserving.py [--campaigns N] [--repeat N] [--url URL]
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
from ground import database, insert_one_offs, one, server, settle
from limit import CLAIM, CONNECTIONS, FINISH, SPENT

from storage.migrate import upgrade

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


class Took(NamedTuple):
    """Seconds from T to the last start and to the last completion; and before T."""

    started: float
    completed: float
    before: float


def measure(url: str, count: int, *, ahead: bool) -> Took:
    """One burst."""
    with database(url, "bench_reserving") as own_url:
        upgrade(own_url)
        with psycopg.connect(own_url, autocommit=True) as connection:
            insert_one_offs(connection, count, datetime.now(UTC))
            settle(connection)
            before = time.perf_counter()
            if ahead:
                connection.execute(RESERVE)
                connection.execute(MARK, {"batch": BATCH})
            before = time.perf_counter() - before
            settle(connection)
            numbers = iter(range(count // BATCH + 1))
            work = _reserved if ahead else _claimed
            started, completed = _race(lambda own: work(own, numbers), own_url)
            ended = one(connection, "SELECT count(*) FROM runs WHERE status = 'completed'")
            if ended != count:
                raise SystemExit(f"{ended} runs of {count} ended")
    return Took(started, completed, before)


def _claimed(own: psycopg.Connection, _numbers: object) -> float:
    started = 0.0
    claim = CLAIM.format(spent=SPENT, more="false").encode()
    finish = FINISH.format(status="'completed'").encode()
    while rows := own.execute(claim, {"batch": BATCH}, prepare=True).fetchall():
        started = time.perf_counter()
        own.execute(finish, _columns(rows), prepare=True)
    return started


def _reserved(own: psycopg.Connection, numbers: object) -> float:
    started = 0.0
    for number in numbers:  # type: ignore[attr-defined]
        rows = own.execute(CHECK, {"number": number}, prepare=True).fetchall()
        started = time.perf_counter()
        if rows:
            own.execute(WRITE, _columns(rows), prepare=True)
    return started


def _columns(rows: list[tuple[object, ...]]) -> dict[str, list[object]]:
    ids, ats, runs = (list(column) for column in zip(*rows, strict=True))
    return {"ids": ids, "ats": ats, "runs": runs}


def _race(work: Callable[[psycopg.Connection], float], url: str) -> tuple[float, float]:
    """Seconds until the last start and until the last end, over all connections."""
    gate = threading.Barrier(CONNECTIONS + 1)
    starts: list[float] = []

    def each() -> None:
        with psycopg.connect(url, autocommit=True) as own:
            gate.wait()
            starts.append(work(own))

    threads = [threading.Thread(target=each) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return max(starts) - began, time.perf_counter() - began


def main() -> None:
    """Measure both by turns and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
    given = parser.parse_args()
    found: dict[bool, list[Took]] = {False: [], True: []}
    with server(given.url) as url:
        for _ in range(given.repeat):
            for ahead, took in found.items():
                took.append(measure(url, given.campaigns, ahead=ahead))
    for ahead, took in found.items():
        started, completed, before = (statistics.median(each) for each in zip(*took, strict=True))
        print(
            f"{'reserved ahead' if ahead else 'claimed at T':<16}"
            f" last start {started * 1000:.0f} ms after T,"
            f" {given.campaigns / completed:,.0f} fires/s, {before * 1000:.0f} ms before T"
        )


if __name__ == "__main__":
    main()
