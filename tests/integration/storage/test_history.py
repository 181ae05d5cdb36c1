"""Reads of campaigns and runs: pages, filters, and the indexes that they use."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa

from daemon.domain.campaign.model import run_id
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.errors import NotFound
from daemon.domain.schedule.schedule import CampaignType, EventKind
from storage.bulk.importer import Importer
from storage.bulk.planner import ScheduleDefaults
from storage.campaign_reads import CampaignReads
from storage.cluster_reads import count_by_status, read_overview
from storage.engine import Database
from storage.schema import HEAD

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
NINE = datetime(2026, 3, 5, 9, tzinfo=UTC)


def line(number: int) -> bytes:
    kinds = (
        '{"campaign": {"name": "daily %d"}, "schedule": {"schedule_type": "recurring",'
        ' "recurring_config": {"frequency": "daily", "time": "09:00"}}}',
        '{"campaign": {"name": "window %d", "type": "segment_triggered"}, "schedule":'
        ' {"startdate": "2026-03-05T09:00:00Z", "enddate": "2026-03-06T08:00:00Z"}}',
        '{"campaign": {"name": "draft %d"}}',
        '{"campaign": {"name": "paused %d", "status": "paused"}, "schedule":'
        ' {"schedule_type": "scheduled", "scheduled_at": "2026-03-05T08:00:00Z"}}',
    )
    return (kinds[number % 4] % number).encode() + b"\n"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Twelve campaigns with the ids 1 to 12, three of each of four kinds, without runs."""
    database = Database(database_url, pool_size=2)
    faults: list[tuple[int, str]] = []
    load = Importer(
        database,
        actor="test",
        defaults=ScheduleDefaults(),
        report=lambda number, reason: faults.append((number, reason)),
        now=NOW,
    )
    await load.load(line(number) for number in range(12))
    assert faults == []
    yield database
    await database.close()


@pytest.fixture
def history(database: Database) -> CampaignReads:
    return CampaignReads(database)


async def add_runs(database: Database, campaign_id: int, count: int, status: str) -> None:
    """Insert runs a day apart, all claimed by one statement at one instant."""
    campaign = (await CampaignReads(database).campaign(campaign_id)).campaign
    async with database.transaction() as connection:
        for number in range(count):
            at = NOW - timedelta(days=number + 1)
            await connection.execute(
                sa.text(
                    "INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, claimed_at,"
                    " started_at, start_before, finished_at, error) VALUES (:campaign_id, :at, :id,"
                    " :status, 1, :claimed, :claimed, :claimed, :claimed, :error)"
                ),
                {
                    "campaign_id": campaign_id,
                    "at": at,
                    "id": run_id(campaign.uuid, at),
                    "status": status,
                    "claimed": NOW,
                    "error": "no" if status == "failed" else None,
                },
            )


async def test_campaigns_come_in_pages_newest_first(history: CampaignReads) -> None:
    found: list[int] = []
    before = None
    while page := await history.campaigns(limit=5, before=before):
        found += [each.campaign.id for each in page]
        before = page[-1].campaign.id
    assert found == list(range(12, 0, -1))


async def test_campaigns_by_status_and_type(history: CampaignReads) -> None:
    paused = await history.campaigns(limit=50, status=Status.PAUSED)
    assert [each.campaign.name for each in paused] == ["paused 11", "paused 7", "paused 3"]
    windows = await history.campaigns(limit=50, type=CampaignType.SEGMENT_TRIGGERED)
    assert [each.campaign.name for each in windows] == ["window 9", "window 5", "window 1"]
    both = await history.campaigns(
        limit=50, status=Status.PAUSED, type=CampaignType.SEGMENT_TRIGGERED
    )
    assert both == []


async def test_the_next_run_of_a_window_is_at_its_opening(history: CampaignReads) -> None:
    (window, *_) = await history.campaigns(limit=50, type=CampaignType.SEGMENT_TRIGGERED)
    assert window.next_run_at == window.next_event_at == NINE
    assert window.ends_at == datetime(2026, 3, 6, 8, tzinfo=UTC)
    (draft, *_) = await history.campaigns(limit=50, status=Status.DRAFT)
    assert (draft.next_run_at, draft.next_event_at, draft.rrule) == (None, None, None)


async def test_one_campaign_by_id_and_by_uuid(history: CampaignReads) -> None:
    shown = await history.campaign(1)
    again = await history.campaign(shown.campaign.uuid)
    assert (again.campaign, again.current, again.timer) == (
        shown.campaign,
        shown.current,
        shown.timer,
    )
    assert shown.current is not None
    assert shown.current.body["schedule_type"] == "recurring"
    assert shown.current.schedule.anchor_at == NINE
    assert shown.rrule == "DTSTART:20260305T090000Z\nRRULE:FREQ=DAILY"
    draft = await history.campaign(3)
    assert (draft.current, draft.timer, draft.revision) == (None, None, None)


@pytest.mark.parametrize("ref", [99, uuid4()])
async def test_an_unknown_ref_is_not_found(history: CampaignReads, ref: Any) -> None:
    for ask in (
        history.campaign(ref),
        history.events(ref, limit=1),
        history.upcoming_of(ref, 1),
        history.runs(limit=1, ref=ref),
    ):
        with pytest.raises(NotFound, match=str(ref)):
            await ask


async def test_runs_of_all_campaigns_in_pages(database: Database, history: CampaignReads) -> None:
    """This holds also when one claim inserts more than a page of runs with one instant."""
    for campaign_id in (1, 2, 5):
        await add_runs(database, campaign_id, 4, "completed")
    found = []
    before = None
    while page := await history.runs(limit=5, before=before):
        found += [(each.run.campaign_id, each.run.scheduled_for) for each in page]
        before = page[-1].key
    assert len(found) == 12
    assert found == sorted(found, reverse=True)


async def test_runs_of_one_campaign_and_by_status(
    database: Database, history: CampaignReads
) -> None:
    await add_runs(database, 1, 3, "completed")
    await add_runs(database, 2, 2, "failed")
    first = await history.runs(limit=2, ref=1)
    rest = await history.runs(limit=2, ref=1, before=first[-1].key)
    assert [each.run.scheduled_for for each in [*first, *rest]] == [
        NOW - timedelta(days=number) for number in (1, 2, 3)
    ]
    failed = await history.runs(limit=50, status=RunStatus.FAILED)
    assert {(each.run.campaign_id, each.campaign_name) for each in failed} == {(2, "window 1")}
    assert await history.runs(limit=50, ref=1, status=RunStatus.FAILED) == []


async def test_one_run_by_its_id(database: Database, history: CampaignReads) -> None:
    await add_runs(database, 1, 2, "failed")
    (newest, _) = await history.runs(limit=2)
    assert await history.run(newest.run.id) == newest
    with pytest.raises(NotFound, match="no run has the id"):
        await history.run(uuid4())


async def test_events_of_a_campaign_newest_first(
    database: Database, history: CampaignReads
) -> None:
    async with database.transaction() as connection:
        for number in range(3):
            await connection.execute(
                sa.text(
                    "INSERT INTO campaign_events (campaign_id, event, actor)"
                    " VALUES (1, :event, 'test'), (2, 'other', 'test')"
                ),
                {"event": f"event {number}"},
            )
    first = await history.events(1, limit=2)
    rest = await history.events(1, limit=10, before=first[-1].id)
    names = [each.event for each in [*first, *rest]]
    assert names == ["event 2", "event 1", "event 0", "imported"]


async def test_upcoming_is_in_order_and_without_paused_campaigns(history: CampaignReads) -> None:
    found = []
    after = None
    while page := await history.upcoming(limit=4, after=after):
        found += page
        after = page[-1].key
    assert [(each.campaign_id, each.kind) for each in found] == [
        (1, EventKind.FIRE),
        (2, EventKind.OPEN),
        (5, EventKind.FIRE),
        (6, EventKind.OPEN),
        (9, EventKind.FIRE),
        (10, EventKind.OPEN),
    ]
    assert {each.at for each in found} == {NINE}


async def test_upcoming_of_one_campaign_follows_its_schedule(history: CampaignReads) -> None:
    daily = await history.upcoming_of(1, 3)
    assert [each.at for each in daily] == [NINE + timedelta(days=number) for number in range(3)]
    window = await history.upcoming_of(2, 10)
    assert [(each.kind.value, each.at) for each in window] == [
        ("open", NINE),
        ("fire", NINE),
        ("close", datetime(2026, 3, 6, 8, tzinfo=UTC)),
    ]
    assert await history.upcoming_of(3, 10) == []


async def test_upcoming_has_the_local_time_that_clocks_show(
    database: Database, history: CampaignReads
) -> None:
    """02:30 of that night is skipped: clocks show 03:30 at that instant."""
    once = {"schedule_type": "scheduled", "scheduled_at": "2026-03-08T02:30"}
    load = Importer(
        database, actor="test", defaults=ScheduleDefaults(), report=lambda *_: None, now=NOW
    )
    campaigns = [
        {"campaign": {"name": "once"}, "schedule": once},
        {
            "campaign": {"name": "window", "type": "event_triggered", "status": "scheduled"},
            "schedule": {"startdate": "2026-03-08T02:30"},
        },
    ]
    for each in campaigns:
        each["schedule"] |= {"timezone": "America/New_York"}
    await load.load(json.dumps(each).encode() + b"\n" for each in campaigns)
    listed = [each for each in await history.upcoming(limit=50) if each.at > NINE]
    of_each = [await history.upcoming_of(each.campaign_id, 1) for each in listed]
    for event in (*listed, *(event for (event,) in of_each)):
        assert event.at == datetime(2026, 3, 8, 7, 30, tzinfo=UTC)
        assert event.local.isoformat() == "2026-03-08T03:30:00"
    assert len(listed) == 2


async def test_the_state_of_the_cluster(database: Database) -> None:
    """The database clock is past every timer's instant, so every event is overdue."""
    async with database.transaction() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO nodes (id, name, host, pid, version, tzdata, started_at, heartbeat_at,"
                " lease_until, oldest_claim_at, shards) SELECT id, id, 'h', 1, '1', '2026a', now(),"
                " now(), now() + lease, now(), 64 FROM (VALUES ('live', interval '1 hour'),"
                " ('lost', interval '0')) AS n (id, lease)"
            )
        )
        await connection.execute(
            sa.text("UPDATE timers SET fire_at = now() + interval '1 day' WHERE campaign_id = 1")
        )
        await connection.execute(
            sa.text(
                "UPDATE timers SET fire_at = now() - interval '1 hour' * campaign_id,"
                " backlog = campaign_id = 12 WHERE campaign_id > 1"
            )
        )
    found = await read_overview(database)
    assert [(node.name, node.live, node.shards) for node in found.nodes] == [
        ("live", True, 64),
        ("lost", False, 64),
    ]
    assert (found.overdue, found.backlog) == (7, 1)
    assert found.lag == pytest.approx(10 * 3600, abs=60)
    assert found.next_event_at is not None
    assert found.next_event_at > found.now
    assert (found.executing, found.retrying, found.queued) == (0, 0, 0)
    assert found.schema.version == HEAD
    counts = await count_by_status(database)
    assert counts.campaigns == {"draft": 3, "paused": 3, "scheduled": 6}
    assert counts.runs == {}


MANY = """
INSERT INTO campaigns (name, status, more_to_come)
SELECT 'c', 'scheduled', true FROM generate_series(1, 20000);
INSERT INTO schedule_definitions (campaign_id, revision, source, body, kind, timezone, tzdata,
    anchor_at, anchor_local, misfire_grace_time, "coalesce", overlap)
SELECT id, id, 'schedule', '{}', 'once', 'UTC', 'x', now(), now(), 1, true, 'skip' FROM campaigns
ON CONFLICT DO NOTHING;
INSERT INTO timers (campaign_id, revision, fire_at, local, kind)
SELECT id, id, now() + interval '1 minute' * id, now(), 'fire' FROM campaigns
ON CONFLICT DO NOTHING;
INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, claimed_at, start_before,
    finished_at)
SELECT 1 + n % 20000, now() - interval '1 minute' * n, gen_random_uuid(), 'completed', 1,
    now() - interval '1 minute' * n, now(), now() FROM generate_series(1, 60000) AS n;
INSERT INTO campaign_events (campaign_id, event, actor)
SELECT 1 + n % 20000, 'x', 'x' FROM generate_series(1, 60000) AS n;
ANALYZE;
"""
BIG = {"campaigns", "schedule_definitions", "timers", "runs", "campaign_events"}


async def test_no_list_reads_a_whole_table(database: Database, superuser_url: str) -> None:
    """Every statement of the lists and the overview is planned without a sequential scan."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(MANY)
    seen: list[tuple[str, Any]] = []

    @sa.event.listens_for(database.engine.sync_engine, "before_cursor_execute")
    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        seen.append((statement, parameters))

    history = CampaignReads(database)
    page = await history.campaigns(limit=50)
    await history.campaigns(limit=50, before=page[-1].campaign.id)
    await history.campaigns(limit=50, status=Status.SCHEDULED, type=CampaignType.ONE_TIME)
    await history.campaign(17)
    await history.campaign(page[0].campaign.uuid)
    runs = await history.runs(limit=50)
    await history.runs(limit=50, before=runs[-1].key)
    await history.runs(limit=50, ref=17, before=runs[-1].key)
    for status in RunStatus:
        await history.runs(limit=50, status=status)
    await history.run(runs[0].run.id)
    await history.events(17, limit=50, before=100)
    upcoming = await history.upcoming(limit=50)
    await history.upcoming(limit=50, after=upcoming[-1].key)
    await read_overview(database)
    assert len(seen) > 25
    asked = list(seen)
    async with database.statement() as connection:
        for statement, parameters in asked:
            if not statement.lstrip().startswith(("SELECT", "WITH", "--")):
                continue
            explained = await connection.exec_driver_sql(
                f"EXPLAIN (FORMAT json) {statement}", parameters
            )
            (plan,) = explained.scalar_one()
            assert not BIG.intersection(_scanned(plan["Plan"])), statement


def _scanned(node: dict[str, Any]) -> set[str]:
    """Return the tables that a plan reads completely."""
    whole = {node["Relation Name"]} if node["Node Type"] == "Seq Scan" else set()
    return whole.union(*(_scanned(inner) for inner in node.get("Plans", [])))
