"""Measure the raw SQL limit: SQL alone writes the rows that campaignd writes for a burst.

The first statement of a batch deletes the timers, inserts the runs, updates the campaigns and
inserts an event for each fire. The second one ends runs and campaigns and inserts an event for
each end. Two connections of one process execute them, without decisions and without guards.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import psycopg
from database import database, scalar, vacuum
from processes import THIS
from stored_campaigns import insert_daily, insert_one_offs

CONNECTIONS = 2
BATCHES = (500, 1_000, 2_500, 5_000)

CLAIM = """
WITH due AS (
    SELECT campaign_id, fire_at FROM timers WHERE fire_at <= now()
    ORDER BY fire_at, campaign_id LIMIT %(batch)s FOR UPDATE SKIP LOCKED
), {spent}, opened AS (
    INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, node, claimed_at,
                      started_at, start_before)
    SELECT campaign_id, fire_at, gen_random_uuid(), 'executing', 1, 'limit', now(), now(),
           fire_at + interval '10 hours'
    FROM due
    RETURNING campaign_id, scheduled_for, id
), moved AS (
    UPDATE campaigns c SET status = 'executing', open_runs = 1, more_to_come = {more},
                           has_due = true, updated_at = now()
    FROM due WHERE c.id = due.campaign_id
), logged AS (
    INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                                 run_id, scheduled_for)
    SELECT campaign_id, now(), 'fire', 'scheduled', 'executing', 'due', 'limit', id, scheduled_for
    FROM opened
)
SELECT campaign_id, scheduled_for, id FROM opened
"""
SPENT = "spent AS (DELETE FROM timers t USING due WHERE t.campaign_id = due.campaign_id)"
ADVANCED = """advanced AS (
    UPDATE timers t SET fire_at = t.fire_at + interval '1 day', local = t.local + interval '1 day'
    FROM due WHERE t.campaign_id = due.campaign_id
)"""
FINISH = """
WITH item AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(ats)s::timestamptz[], %(runs)s::uuid[])
        AS i (campaign_id, scheduled_for, run_id)
), ended AS (
    UPDATE runs r SET status = 'completed', finished_at = now()
    FROM item i WHERE r.campaign_id = i.campaign_id AND r.scheduled_for = i.scheduled_for
), moved AS (
    UPDATE campaigns c SET status = {status}, open_runs = 0, has_completed = true,
                           updated_at = now()
    FROM item i WHERE c.id = i.campaign_id
)
INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, cause, actor,
                             run_id, scheduled_for)
SELECT campaign_id, now(), 'run_ended', 'executing', {status}, 'completed', 'limit', run_id,
       scheduled_for
FROM item
"""


def measure_limit(
    server: str,
    count: int,
    *,
    batches: Sequence[int] = BATCHES,
    daily: bool = False,
    times: int = 1,
) -> float:
    """Return fires a second at the best batch size, each the median of `times` bursts."""
    return max(
        statistics.median(_drain(server, count, batch, daily=daily) for _ in range(times))
        for batch in batches
        if batch * CONNECTIONS <= count or batch == min(batches)
    )


def run_on_all_connections(
    url: str, work: Callable[[psycopg.Connection], object]
) -> tuple[float, float]:
    """Run the work on all connections at once; return the clock at its start, and the seconds."""
    gate = threading.Barrier(CONNECTIONS + 1)

    def each() -> None:
        with psycopg.connect(url, autocommit=True) as own:
            gate.wait()
            work(own)

    threads = [threading.Thread(target=each) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return began, time.perf_counter() - began


def claim_and_finish(
    connection: psycopg.Connection, batch: int, *, daily: bool = False
) -> float | None:
    """Fire all due timers in batches; return the clock after the last claim, if there was one."""
    claim = CLAIM.format(
        spent=ADVANCED if daily else SPENT, more="true" if daily else "false"
    ).encode()
    finish = FINISH.format(status="'launched'" if daily else "'completed'").encode()
    claimed_at = None
    while rows := connection.execute(claim, {"batch": batch}, prepare=True).fetchall():
        claimed_at = time.perf_counter()
        connection.execute(finish, columns(rows), prepare=True)
    return claimed_at


def columns(rows: Sequence[tuple[object, ...]]) -> dict[str, list[object]]:
    """Return rows of (campaign, instant, run) as the arrays that the statements take."""
    ids, ats, runs = (list(column) for column in zip(*rows, strict=True))
    return {"ids": ids, "ats": ats, "runs": runs}


def require_completed(connection: psycopg.Connection, count: int) -> None:
    """Raise SystemExit unless that many runs have completed."""
    ended = scalar(connection, "SELECT count(*) FROM runs WHERE status = 'completed'")
    if ended != count:
        raise SystemExit(f"{ended} runs of {count} completed")


def _drain(server: str, count: int, batch: int, *, daily: bool) -> float:
    with database(server, "bench_limit") as url:
        THIS.upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            insert = insert_daily if daily else insert_one_offs
            insert(connection, count, datetime.now(UTC))
            vacuum(connection)
            _, took = run_on_all_connections(
                url, lambda own: claim_and_finish(own, batch, daily=daily)
            )
            require_completed(connection, count)
    return count / took
