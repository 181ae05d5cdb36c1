"""The hot statements use indexes, whatever else is stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from daemon.domain.requests import BodyContext, read_schedule_body
from daemon.domain.run.attempt import ArmedEvent, Attempt, FinishedAttempt, PendingRun
from daemon.domain.run.claim_plan import plan
from daemon.domain.run.outcome import Delivered
from daemon.domain.schedule.schedule import CampaignType, EventKind, TimedEvent
from daemon.runtime.clock import SystemClock
from daemon.runtime.node_identity import NodeIdentity
from daemon.timer.loader import FIRST_EVENT, FIRST_RUN
from storage import runs, tzdata_refresh
from storage.firing_database import FiringDatabase
from storage.nodes import Nodes
from storage.queries import query
from storage.runs import RunStore
from storage.session import FIRING
from storage.tables import schedule_definitions
from storage.timers import Timers
from tests.support.builders import daily_body
from tests.support.clocks import days
from tests.support.postgres import fresh_database, url_for_application
from tests.support.timed_database import ALL

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CAMPAIGNS = 6000
BIG = {"campaigns", "timers", "runs", "schedule_definitions", "campaign_events"}

PARALLEL = (
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "min_parallel_table_scan_size",
    "min_parallel_index_scan_size",
)
"""Settings that make parallel plans cheap, as a million schedules do, when they are 0."""

SEED = f"""
INSERT INTO nodes SELECT 'node', 'n', 'h', 1, '0', 't', now(), now(), 'infinity', false,
                         '2026-06-01 11:59Z';
INSERT INTO campaigns (id, name, type, status, open_runs, more_to_come, has_due)
SELECT n, 'c', 'recurring', CASE WHEN n <= 200 THEN 'executing' ELSE 'launched' END,
       CASE WHEN n <= 200 THEN 1 ELSE 0 END, true, true FROM generate_series(1, {CAMPAIGNS}) n;
INSERT INTO schedule_definitions (campaign_id, revision, source, body, kind, timezone, tzdata,
    anchor_at, anchor_local, frequency, repeat_interval, first_on, time_of_day, weekdays, skip,
    misfire_grace_time, coalesce, overlap)
SELECT n, n, 'schedule', '{{}}', 'recurring', 'UTC', 't', '2026-01-01 12:00Z', '2026-01-01 12:00',
       'daily', 1, '2026-01-01', '12:00', '{{}}', 'backward', 3600, true, 'skip'
FROM generate_series(1, {CAMPAIGNS}) n;
INSERT INTO timers (campaign_id, revision, fire_at, local, kind)
SELECT n, n, timestamptz '2026-06-01 11:50Z' + n * interval '1 minute',
       timestamp '2026-06-01 11:50' + n * interval '1 minute', 'fire'
FROM generate_series(1, {CAMPAIGNS}) n;
INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, node, claimed_at, started_at,
                  next_attempt_at, start_before, finished_at)
SELECT n, timestamptz '2026-06-01 11:00Z' - d * interval '1 day', gen_random_uuid(),
       CASE WHEN d > 0 OR n > 200 THEN 'completed' WHEN n <= 100 THEN 'executing'
            ELSE 'retrying' END,
       1, CASE WHEN d > 0 OR n <= 100 OR n > 200 THEN 'node' END,
       timestamptz '2026-06-01 11:00Z' - d * interval '1 day', '2026-06-01 11:00Z',
       CASE WHEN d = 0 AND n > 100 AND n <= 200 THEN timestamptz '2026-06-01 11:59Z' END,
       'infinity', CASE WHEN d > 0 OR n > 200 THEN timestamptz '2026-06-01 11:00Z' END
FROM generate_series(1, {CAMPAIGNS}) n, generate_series(0, 4) d;
"""


@pytest.fixture(scope="module")
def seeded_url(postgres_server: str, template_database: str) -> Iterator[str]:
    with fresh_database(postgres_server, template_database) as (_, url):
        with psycopg.connect(url, autocommit=True) as connection:
            seed(connection)
            connection.execute("VACUUM ANALYZE")
        yield url_for_application(url)


@pytest.fixture
def restored_url(postgres_server: str, template_database: str) -> Iterator[str]:
    """A database without statistics, as after a restore, whose server prefers parallel plans."""
    with fresh_database(postgres_server, template_database) as (name, url):
        with psycopg.connect(url, autocommit=True) as connection:
            seed(connection)
            for setting in PARALLEL:
                connection.execute(f"ALTER DATABASE {name} SET {setting} = 0".encode())
        yield url


def seed(connection: psycopg.Connection) -> None:
    for statement in SEED.split(";\n"):
        if statement.strip():
            connection.execute(statement.encode())


class Explained:
    """A database that explains statements and collects their plans."""

    def __init__(self, url: str) -> None:
        self.database = FiringDatabase(url, timeouts=FIRING)
        self.plans: list[dict[str, Any]] = []

    async def plan(self, name: str, binds: dict[str, Any]) -> None:
        await self.plan_text(query(name).text, binds)

    async def plan_text(self, statement: str, binds: dict[str, Any] | None = None) -> None:
        async with self.database.statement() as connection:
            explain = sa.text(f"EXPLAIN (FORMAT JSON) {statement}")
            (plan,) = (await connection.execute(explain, binds)).scalar_one()
            self.plans.append(plan["Plan"])

    def nodes(self) -> Iterator[dict[str, Any]]:
        todo = list(self.plans)
        while todo:
            node = todo.pop()
            todo += node.get("Plans", [])
            yield node

    def indexes(self) -> set[str]:
        return {node["Index Name"] for node in self.nodes() if "Index Name" in node}

    def scanned(self) -> set[str]:
        return {
            node["Relation Name"] for node in self.nodes() if node["Node Type"] == "Seq Scan"
        } & BIG


@pytest.fixture
async def explained(seeded_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    explained = Explained(seeded_url)

    async def rows(name: str, **binds: Any) -> list[Any]:
        await explained.plan(name, binds)
        return []

    async def lock_campaigns(_connection: Any, ids: list[int]) -> list[int]:
        await explained.plan("lock_campaigns", {"campaign_ids": ids, "wanted": len(ids)})
        return ids

    async def write_finish(_connection: Any, binds: dict[str, Any]) -> list[Any]:
        await explained.plan("finish_runs", binds)
        return []

    monkeypatch.setattr(runs, "lock_campaigns", lock_campaigns)
    monkeypatch.setattr(runs, "write_finish", write_finish)
    monkeypatch.setattr(explained.database, "rows", rows)
    yield explained
    await explained.database.close()


def armed(number: int) -> ArmedEvent:
    body = daily_body(NOW - timedelta(minutes=10) + number * timedelta(minutes=1))
    schedule = read_schedule_body(
        body, BodyContext(NOW - days(300), CampaignType.RECURRING)
    ).schedule
    event = TimedEvent(EventKind.FIRE, schedule.anchor_at, schedule.anchor_local)
    return ArmedEvent(number, uuid4(), number, event, schedule, "log", event.at)


def work(number: int) -> Attempt:
    at = datetime(2026, 6, 1, 11, tzinfo=UTC)
    return Attempt(number, uuid4(), "c", uuid4(), at, 1, "log", {}, at, NOW)


@pytest.mark.parametrize("batch", [1, 10, 100])
async def test_claims(explained: Explained, batch: int) -> None:
    statements = RunStore(explained.database, NodeIdentity(SystemClock(), "node"), now=NOW)
    await statements.claim([plan(armed(number), NOW) for number in range(1, batch + 1)])
    assert explained.scanned() == set()
    assert {"timers_pkey", "campaigns_pkey", "runs_pkey"} <= explained.indexes()


@pytest.mark.parametrize("batch", [1, 10, 100])
async def test_plain_claims_and_outcomes(explained: Explained, batch: int) -> None:
    statements = RunStore(explained.database, NodeIdentity(SystemClock(), "node"), now=NOW)
    await statements.claim_plain([plan(armed(number), NOW) for number in range(1, batch + 1)])
    assert explained.scanned() == set()
    assert {"timers_pkey", "campaigns_pkey"} <= explained.indexes()
    await statements.finish_plain(
        [FinishedAttempt(work(n), Delivered(), "executing", None) for n in range(1, batch + 1)]
    )
    assert explained.scanned() == set()
    assert {"campaigns_pkey", "runs_pkey"} <= explained.indexes()


@pytest.mark.parametrize("batch", [1, 10, 100])
async def test_attempts(explained: Explained, batch: int) -> None:
    statements = RunStore(explained.database, NodeIdentity(SystemClock(), "node"), now=NOW)
    at = datetime(2026, 6, 1, 11, tzinfo=UTC)
    await statements.claim_attempts(
        [PendingRun(n, at, NOW, "log") for n in range(101, 101 + batch)]
    )
    assert explained.scanned() == set()
    assert {"campaigns_pkey", "runs_pkey"} <= explained.indexes()


@pytest.mark.parametrize("batch", [1, 10, 100])
async def test_finishing(explained: Explained, batch: int) -> None:
    statements = RunStore(explained.database, NodeIdentity(SystemClock(), "node"), now=NOW)
    await statements.finish(
        [FinishedAttempt(work(n), Delivered(), "executing", None) for n in range(1, batch + 1)]
    )
    assert explained.scanned() == set()
    assert {"campaigns_pkey", "runs_pkey"} <= explained.indexes()


@pytest.mark.parametrize("batch", [1, 10, 100])
async def test_finding_blocked_attempts(explained: Explained, batch: int) -> None:
    statements = RunStore(explained.database, NodeIdentity(SystemClock(), "node"), now=NOW)
    await statements.find_blocked([(work(n), "executing") for n in range(1, batch + 1)])
    assert explained.scanned() == set()
    assert {"campaigns_pkey", "runs_pkey"} <= explained.indexes()


@pytest.mark.parametrize("batch", [1, 100])
async def test_releasing(explained: Explained, batch: int) -> None:
    statements = RunStore(explained.database, NodeIdentity(SystemClock(), "node"), now=NOW)
    await statements.release([work(n) for n in range(1, batch + 1)], ["retrying"] * batch)
    assert explained.scanned() == set()
    assert {"campaigns_pkey", "runs_pkey"} <= explained.indexes()


async def test_loading(explained: Explained) -> None:
    timers = Timers(explained.database)
    await timers.events_between((NOW, 0), NOW + timedelta(minutes=1), ALL, 5000)
    await timers.overdue_events(FIRST_EVENT, NOW, 5000, [])
    assert "timers_fire_at_idx" in explained.indexes()
    assert explained.scanned() == set()
    await timers.events_of([5, 7, 4000], NOW + days(10))
    assert "timers_pkey" in explained.indexes()
    assert explained.scanned() == set()


async def test_loading_pending_runs(explained: Explained) -> None:
    timers = Timers(explained.database)
    await timers.pending_runs(FIRST_RUN, NOW, NOW, ALL, 5000, [])
    await timers.pending_runs((NOW - timedelta(minutes=1), 150, NOW), NOW, NOW, ALL, 5000, ["log"])
    assert "runs_next_attempt_at_idx" in explained.indexes()
    assert "runs" not in explained.scanned()


async def test_polling_for_changes(explained: Explained) -> None:
    async with explained.database.statement() as connection:
        snapshot = sa.text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        xmin = await connection.scalar(snapshot)
    binds = {"xmin": xmin, "max_rows": 10_000, "overdue_before": NOW, "until": NOW}
    await explained.plan("poll_work", binds)
    used = {"schedule_definitions_changed_in_idx", "timers_fire_at_idx", "runs_next_attempt_at_idx"}
    assert used <= explained.indexes()
    assert explained.scanned() == set()


async def test_correcting_change_marks(explained: Explained) -> None:
    await explained.plan("correct_change_marks", {"max_rows": 1000})
    assert "schedule_definitions_changed_in_idx" in explained.indexes()
    assert explained.scanned() == set()


async def test_reclaiming(explained: Explained) -> None:
    """The runs in flight of the lost node are among the newest claims."""
    binds = {
        "node": "other",
        "lost_node": "node",
        "from_start": False,
        "max_rows": 1000,
        "now": NOW,
        "hold_targets": [],
    }
    await explained.plan("reclaim_runs", binds)
    assert {"runs_claimed_at_idx", "campaigns_pkey", "runs_pkey"} <= explained.indexes()
    assert explained.scanned() == set()


async def test_expiring_leases(explained: Explained) -> None:
    binds = {"node": "other", "max_rows": 1000, "now": NOW, "hold_targets": []}
    await explained.plan("expire_leases", binds)
    assert {"runs_lease_until_idx", "campaigns_pkey"} <= explained.indexes()
    assert explained.scanned() == set()


async def test_leaving(explained: Explained) -> None:
    """A leaving node and the first check of a lost node do not read every run."""
    await explained.plan("find_in_flight", {"lost_node": "node"})
    await explained.plan("forget_node", {"lost_node": "node", "from_start": False})
    assert "runs_claimed_at_idx" in explained.indexes()
    assert "runs" not in explained.scanned()


async def test_the_statements_explained_are_those_that_run(seeded_url: str) -> None:
    """The seed is a legal state: its due events can be claimed."""
    database = FiringDatabase(seeded_url, timeouts=FIRING)
    try:
        timers = Timers(database)
        overdue = await timers.overdue_events(FIRST_EVENT, NOW, 20, [])
        due = await timers.events_of([item.campaign_id for item in overdue], NOW)
        assert len(due) == len(overdue) == 9
        statements = RunStore(database, NodeIdentity(SystemClock(), "node"), now=NOW)
        results, _ = await statements.claim([plan(entry, NOW) for entry in due])
        assert sum(len(result.places) for result in results) == 9
        assert await Nodes(database, now=NOW).beat("node", lease=5, oldest_claim_at=None)
    finally:
        await database.close()


async def test_polling_leases(explained: Explained) -> None:
    """The poll of every second uses an index that is empty without accepted runs."""
    await explained.plan("poll_leases", {})
    assert explained.indexes() == {"runs_lease_until_idx"}
    assert explained.scanned() == set()


@pytest.mark.parametrize("tzdata", ["s", "u"], ids=["none is stale", "all are stale"])
async def test_listing_stale_schedules(explained: Explained, tzdata: str) -> None:
    await explained.plan_text(stale_listing(tzdata))
    assert "schedule_definitions_tzdata_idx" in explained.indexes()
    assert explained.scanned() == set()


async def test_a_start_without_statistics_starts_no_worker_processes(restored_url: str) -> None:
    """Starting them takes longer than all that a start-up asks of a million schedules."""
    explained = Explained(restored_url)
    try:
        await explained.plan_text(stale_listing("2026a"))
        since, until = NOW - timedelta(seconds=1), NOW + timedelta(minutes=1)
        await explained.plan(
            "load_events_between",
            {"since": since, "since_id": 0, "until": until, "shards": ALL, "max_rows": 5000},
        )
        await explained.plan("correct_change_marks", {"max_rows": 1000})
    finally:
        await explained.database.close()
    assert [node["Node Type"] for node in explained.nodes() if "Gather" in node["Node Type"]] == []


def stale_listing(tzdata: str) -> str:
    listing = tzdata_refresh._stale_select(schedule_definitions.c.tzdata < tzdata)
    options = {"literal_binds": True}
    return str(listing.compile(dialect=postgresql.dialect(), compile_kwargs=options))
