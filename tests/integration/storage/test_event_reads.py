"""The events of all campaigns: which of them are listed, and how they are found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from daemon.domain.campaign.model import LoggedEvent
from daemon.domain.listing import Counted, EventFilter
from storage.event_reads import EventReads
from storage.tables import NOTABLE_EVENT
from tests.support import situations
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase


def names_of(events: Sequence[LoggedEvent], campaign_id: int) -> list[str]:
    return [each.event for each in events if each.campaign_id == campaign_id]


async def test_the_ordinary_start_and_end_of_a_run_are_left_out(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    reads = EventReads(db.database)
    completed = await situations.completed(db, node)
    failed = await situations.failed(db, node)
    found = await reads.events(EventFilter(), limit=50)
    of = {
        cid: [each.event for each in found if each.campaign_id == cid]
        for cid in (completed, failed)
    }
    assert of[completed] == ["schedule_saved", "created"]
    assert of[failed] == ["run_ended", "schedule_saved", "created"], "its cause is no success"
    assert await reads.count_events(EventFilter()) == Counted(len(found))


async def test_filters_and_pages(db: TimedDatabase, node: DatabaseNode) -> None:
    reads = EventReads(db.database)
    await situations.paused_ahead(db, node)
    everything = await reads.events(EventFilter(), limit=50)
    first = await reads.events(EventFilter(), limit=2)
    rest = await reads.events(EventFilter(), limit=50, before=first[-1].id)
    assert [*first, *rest] == everything
    (pause,) = await reads.events(EventFilter(event="pause"), limit=50)
    assert await reads.events(EventFilter(actor="nobody's"), limit=50) == []
    since = EventFilter(event="pause", since=pause.at)
    assert await reads.events(since, limit=50) == [pause]
    later = EventFilter(event="pause", since=pause.at + timedelta(microseconds=1))
    assert await reads.events(later, limit=50) == []
    assert await reads.events(EventFilter(event="pause", before=pause.at), limit=50) == []


async def test_the_list_is_found_by_its_own_index(db: TimedDatabase, node: DatabaseNode) -> None:
    """An ordinary run writes nothing to it, so it costs nothing on the way of a run."""
    await situations.completed(db, node)
    statement = (
        f"EXPLAIN SELECT * FROM campaign_events WHERE ({NOTABLE_EVENT}) ORDER BY id DESC LIMIT 50"
    )
    async with db.database.statement() as connection:
        plan = "\n".join(row[0] for row in await connection.execute(sa.text(statement)))
    assert "campaign_events_notable_idx" in plan
