"""Years of history: no hot statement and no list reads a big table completely."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.run.attempt import FinishedAttempt
from daemon.domain.run.claim_plan import plan
from daemon.domain.run.outcome import Delivered
from daemon.runtime.clock import SystemClock
from daemon.runtime.node_identity import NodeIdentity
from daemon.timer.loader import FIRST_EVENT, FIRST_RUN
from storage.campaign_reads import CampaignReads
from storage.cluster_reads import read_overview
from storage.engine import Database
from storage.nodes import Nodes
from storage.runs import RunStore
from storage.timers import Timers
from tests.integration.storage.test_query_plans import BIG, CAMPAIGNS, NOW, SEED
from tests.support.clocks import days
from tests.support.postgres import fresh_database
from tests.support.timed_database import ALL

RUNS_EACH = 1667
SLOWEST_S = 0.5
"""On a machine that does other things too; what reads ten million rows takes longer by far."""


@pytest.fixture(scope="module")
def long_lived_url(postgres_server: str, template_database: str) -> Iterator[str]:
    """A database with ten million runs."""
    with fresh_database(postgres_server, template_database) as (_, url):
        with psycopg.connect(url, autocommit=True) as connection:
            many = SEED.replace("generate_series(0, 4) d", f"generate_series(0, {RUNS_EACH - 1}) d")
            assert many != SEED
            many = many.replace("'infinity'", "timestamptz '2100-01-01 00:00Z'")
            for statement in many.split(";\n"):
                if statement.strip():
                    connection.execute(statement.encode())
            connection.execute("VACUUM ANALYZE")
        yield url


def whole_reads(url: str) -> dict[str, int]:
    """Return the number of complete reads of each big table so far."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY (%s)",
            [sorted(BIG)],
        )
        return dict(rows.fetchall())


@pytest.mark.machine
@pytest.mark.skipif(not os.environ.get("LONG_LIFE"), reason="takes long: make long-life")
@pytest.mark.timeout(1200)
async def test_every_statement_uses_an_index(long_lived_url: str) -> None:
    """Each takes well under a second, and reads no table completely."""
    url = long_lived_url
    with psycopg.connect(url) as connection:
        (stored,) = connection.execute("SELECT count(*) FROM runs").fetchone() or (0,)
    assert stored == RUNS_EACH * CAMPAIGNS
    before = whole_reads(url)
    took: dict[str, float] = {}

    async def timed(what: str, act: Awaitable[Any]) -> Any:
        began = time.perf_counter()
        done = await act
        took[what] = time.perf_counter() - began
        return done

    database = Database(url)
    try:
        timers, history = Timers(database), CampaignReads(database)
        statements = RunStore(database, NodeIdentity(SystemClock(), "node"), now=NOW)
        overdue = await timed("overdue", timers.overdue_events(FIRST_EVENT, NOW, 20, []))
        due = await timed("of", timers.events_of([item.campaign_id for item in overdue], NOW))
        await timed(
            "horizon", timers.events_between((NOW, 0), NOW + timedelta(minutes=1), ALL, 5000)
        )
        await timed("named", timers.events_of([5, 7, 4000], NOW + days(10)))
        waiting = await timed("waiting", timers.pending_runs(FIRST_RUN, NOW, NOW, ALL, 5000, []))
        claimed, _ = await timed("claim", statements.claim([plan(each, NOW) for each in due]))
        works = [each.attempt for each in claimed if each.attempt is not None]
        works += (await timed("attempts", statements.claim_attempts(waiting[:20])))[0]
        assert works
        outcomes = [FinishedAttempt(work, Delivered(), "executing", None) for work in works]
        await timed("finish", statements.finish(outcomes))
        nodes = Nodes(database, now=NOW)
        await timed("beat", nodes.beat("node", lease=5, oldest_claim_at=None))
        await timed("unheard", statements.release_unacknowledged(set(), NOW - timedelta(minutes=1)))
        for name, listing in {
            "list campaigns": history.campaigns(limit=50),
            "list runs": history.runs(limit=50),
            **{
                f"list runs {status}": history.runs(limit=50, status=status) for status in RunStatus
            },
            "list runs of one": history.runs(limit=50, ref=4000),
            "list events": history.events(4000, limit=50),
            "upcoming": history.upcoming(limit=50),
            "status": read_overview(database),
        }.items():
            await timed(name, listing)
    finally:
        await database.close()
    print("\n" + ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in took.items()))
    assert whole_reads(url) == before
    assert {name: seconds for name, seconds in took.items() if seconds > SLOWEST_S} == {}
