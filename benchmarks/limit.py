"""The raw SQL limit: the rows that campaignd writes for a burst, written by nothing but SQL.

The same tables, the same rows: the timer deleted, the run inserted, the campaign moved, an event
for the fire; then run and campaign ended and an event for that. Two statements a batch, on two
connections of one process that does no other work, judges nothing and guards nothing.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg
from ground import database, insert_daily, insert_one_offs, one, settle

from storage.migrate import upgrade

CONNECTIONS = 2
BATCHES = (1_000, 2_500, 5_000)

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
    """Fires a second at the best of the batch sizes, by the median of each."""
    return max(
        statistics.median(_drain(server, count, batch, daily=daily) for _ in range(times))
        for batch in batches
        if batch * CONNECTIONS <= count or batch == min(batches)
    )


def _drain(server: str, count: int, batch: int, *, daily: bool) -> float:
    claim = CLAIM.format(
        spent=ADVANCED if daily else SPENT, more="true" if daily else "false"
    ).encode()
    finish = FINISH.format(status="'launched'" if daily else "'completed'").encode()
    with database(server, "bench_limit") as url:
        upgrade(url)
        with psycopg.connect(url, autocommit=True) as connection:
            insert = insert_daily if daily else insert_one_offs
            insert(connection, count, datetime.now(UTC))
            settle(connection)
            gate = threading.Barrier(CONNECTIONS + 1)

            def work() -> None:
                with psycopg.connect(url, autocommit=True) as own:
                    gate.wait()
                    while rows := own.execute(claim, {"batch": batch}, prepare=True).fetchall():
                        ids, ats, runs = (list(column) for column in zip(*rows, strict=True))
                        own.execute(finish, {"ids": ids, "ats": ats, "runs": runs}, prepare=True)

            threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
            for thread in threads:
                thread.start()
            gate.wait()
            began = time.perf_counter()
            for thread in threads:
                thread.join()
            took = time.perf_counter() - began
            ended = one(connection, "SELECT count(*) FROM runs WHERE status = 'completed'")
            if ended != count:
                raise SystemExit(f"the limit ended {ended} runs of {count}")
    return count / took
