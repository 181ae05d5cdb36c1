"""Lists of campaigns and runs with filters and counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.listing import CampaignFilter, Counted, RunFilter
from daemon.domain.schedule.schedule import CampaignType
from storage import campaign_reads, campaign_search
from storage.campaign_search import CampaignSearch
from storage.occurrence_reads import OccurrenceReads
from tests.support import situations
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, days, hours
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase


@pytest.fixture
def search(db: TimedDatabase) -> CampaignSearch:
    return CampaignSearch(db.database)


async def add_named(db: TimedDatabase, *names: str, **fields: Any) -> list[int]:
    ids = []
    for name in names:
        campaign_id = await db.add_draft(**fields)
        await db.rows("UPDATE campaigns SET name = :name WHERE id = :id", name=name, id=campaign_id)
        ids.append(campaign_id)
    return ids


async def found(search: CampaignSearch, **wanted: Any) -> list[int]:
    filtered = CampaignFilter(**wanted)
    listed = [item.campaign.id for item in await search.campaigns(filtered, limit=100)]
    assert await search.count_campaigns(filtered) == Counted(len(listed))
    return listed


@pytest.mark.parametrize(
    ("q", "wanted"),
    [
        ("letter", [2, 1]),
        ("LETTER", [2, 1]),
        ("grüße", [3]),
        ("GRÜSSE", []),
        ("GRÜß", [3]),
        ("100%", [4]),
        ("%", [4]),
        ("_", []),
        ("\\", []),
        ("nothing", []),
    ],
)
async def test_text_is_found_in_names(
    db: TimedDatabase, search: CampaignSearch, q: str, wanted: list[int]
) -> None:
    ids = await add_named(db, "Weekly letter", "Letters of June", "Viele Grüße", "100% off")
    assert await found(search, q=q) == [ids[number - 1] for number in wanted]


async def test_an_id_or_the_beginning_of_a_uuid_is_found(
    db: TimedDatabase, search: CampaignSearch
) -> None:
    ids = await add_named(db, "a", "b", "c")
    campaign = await db.read_campaign(ids[1])
    assert ids[1] in await found(search, q=str(ids[1]))
    for length in (8, 9, 13, 20, 36):
        assert await found(search, q=str(campaign.uuid)[:length].upper()) == [ids[1]]
    assert await found(search, q=str(campaign.uuid) + "0") == []
    assert await found(search, q="9" * 19) == []


async def test_filters_apply_together(db: TimedDatabase, search: CampaignSearch) -> None:
    await add_named(db, "a", "b", target="crm", timezone="Asia/Tokyo")
    scheduled = await db.add_scheduled(daily_body(NOON + hours(1)), target="crm")
    assert await found(search, target="crm", status=Status.SCHEDULED) == [scheduled]
    assert await found(search, type=CampaignType.RECURRING, target="log") == []
    assert len(await found(search, timezone="Asia/Tokyo", target="crm")) == 2
    facets = await search.facets(CampaignFilter(target="crm"))
    assert facets.status == {"draft": 2, "scheduled": 1}
    assert facets.type == {"one_time": 2, "recurring": 1}
    assert facets.target == {"crm": 3}
    assert facets.timezone == {"Asia/Tokyo": 2, "UTC": 1}


async def test_campaigns_by_their_next_run(db: TimedDatabase, search: CampaignSearch) -> None:
    soon = await db.add_scheduled(once_body(NOON + hours(1)))
    await db.add_scheduled(once_body(NOON + hours(3)))
    paused = await db.add_scheduled(once_body(NOON + hours(1)))
    await db.control.pause(paused, "ann")
    assert await found(search, since=NOON, before=NOON + hours(2)) == [soon]
    assert await found(search, since=NOON + hours(1), before=NOON + hours(1)) == []


async def test_a_count_ends_at_ten_thousand(
    db: TimedDatabase, search: CampaignSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign_reads, "MAX_COUNT", 2)
    await add_named(db, "a", "b", "c")
    assert await search.count_campaigns(CampaignFilter()) == Counted(2, more=True)
    await add_named(db, "z", target="crm")
    assert await search.count_campaigns(CampaignFilter(target="crm")) == Counted(1)


async def run_ids(search: CampaignSearch, limit: int = 100, **wanted: Any) -> list[Any]:
    """Return the ids of all pages."""
    ids: list[Any] = []
    before = None
    while True:
        page = await search.runs(RunFilter(**wanted), limit=limit, before=before)
        assert len(page.runs) <= limit
        ids += [listed.run.id for listed in page.runs]
        if (before := page.next) is None:
            return ids


async def test_runs_of_all_campaigns(
    db: TimedDatabase,
    node: DatabaseNode,
    search: CampaignSearch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = await situations.completed(db, node)
    second = await situations.failed(db, node)
    third = await situations.executing_once(db, node)
    runs = {cid: (await db.runs_of(cid))[-1] for cid in (first, second, third)}
    newest_first = [runs[cid].id for cid in (third, second, first)]
    await db.rows("UPDATE campaigns SET target = 'crm' WHERE id = :id", id=first)
    assert await run_ids(search) == newest_first
    assert await search.count_runs(RunFilter()) == Counted(3)
    assert await run_ids(search, limit=1) == newest_first
    for status, cid in ((RunStatus.FAILED, second), (RunStatus.EXECUTING, third)):
        assert await run_ids(search, status=status) == [runs[cid].id]
        assert await search.count_runs(RunFilter(status=status)) == Counted(1)
    assert await run_ids(search, since=runs[second].claimed_at) == newest_first[:2]
    assert await run_ids(search, before=runs[second].claimed_at) == newest_first[2:]
    for scan in (10_000, 3, 2, 1):
        monkeypatch.setattr(campaign_search, "SCAN_RUNS", scan)
        assert await run_ids(search, target="crm") == [runs[first].id], "also beyond a page"
        assert await run_ids(search, q=str(runs[second].id)) == [runs[second].id]
    assert await search.count_runs(RunFilter(target="crm")) == Counted(0, more=True)
    (listed,) = (await search.runs(RunFilter(status=RunStatus.FAILED), limit=2)).runs
    assert listed.target == "log"


async def test_a_calendar_has_past_runs_and_armed_schedules(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    reads = OccurrenceReads(db.database)
    launched = await situations.launched_daily(db, node)
    (run,) = await db.runs_of(launched)
    await db.add_draft("event_triggered")
    drafted = await situations.draft_ahead(db, node)
    until: datetime = db.now + days(2)
    everything = CampaignFilter()
    past = await reads.runs_between(everything, NOON - days(1), until, 10)
    assert [listed.run.id for listed in past] == [run.id]
    assert await reads.runs_between(everything, NOON - days(1), run.scheduled_for, 10) == []
    (armed,) = await reads.schedules_until(everything, until, 10)
    assert (armed.campaign_id, armed.next_at) == (launched, (await db.timer_of(launched)).fire_at)
    assert await reads.schedules_until(everything, armed.next_at, 10) == []
    assert await reads.schedules_until(CampaignFilter(target="crm"), until, 10) == []
    (draft,) = await reads.draft_schedules(everything, db.now, 10)
    assert (draft.campaign_id, draft.next_at) == (drafted, db.now)


async def test_pages_of_schedules_join(db: TimedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.occurrence_reads.PAGE_ROWS", 2)
    reads = OccurrenceReads(db.database)
    ids = [await db.add_scheduled(once_body(NOON + hours(1))) for _ in range(5)]
    for limit in (1, 4, 5, 9):
        armed = await reads.schedules_until(CampaignFilter(), NOON + hours(2), limit)
        assert [item.campaign_id for item in armed] == ids[:limit]
