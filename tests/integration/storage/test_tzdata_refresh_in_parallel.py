"""The tzdata refresh beside edits, claims and other nodes, and its order."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

import pytest
import sqlalchemy as sa

from daemon.domain.campaign import commands
from daemon.domain.requests import BodyContext
from daemon.domain.schedule.schedule import CampaignType
from storage import tzdata_refresh as module
from storage.tzdata_refresh import TzdataRefresh, recheck_claimed
from tests.support.builders import daily_body
from tests.support.capture import CapturedEvents
from tests.support.clocks import NOON, days, hours, minutes
from tests.support.stale_schedules import (
    BERLIN,
    FIRST,
    HOUR,
    make_stale,
    refresh_all,
    store_recurring,
)
from tests.support.timed_database import TimedDatabase


@pytest.fixture
def captured() -> CapturedEvents:
    return CapturedEvents()


async def at_instants(db: TimedDatabase, *instants: datetime) -> list[int]:
    """Create campaigns that run daily from the instants on, stored under older data."""
    ids = [await db.add_scheduled(daily_body(at, timezone=BERLIN)) for at in instants]
    await db.rows("UPDATE schedule_definitions SET tzdata = '2000a'")
    return ids


async def not_yet(db: TimedDatabase) -> set[int]:
    rows = await db.rows("SELECT campaign_id FROM schedule_definitions WHERE tzdata = '2000a'")
    return {row.campaign_id for row in rows}


async def test_the_next_due_schedule_comes_first(
    db: TimedDatabase, captured: CapturedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule without a timer comes last."""
    monkeypatch.setattr(module, "BATCH_SIZE", 1)
    late, soon, over, between = await at_instants(
        db, *(NOON + minutes(each) for each in (30, 10, 5, 20))
    )
    await db.rows("DELETE FROM timers WHERE campaign_id = :id", id=over)
    order: list[int] = []
    renew = module._refresh_batch

    async def noted(database: Any, ids: list[int], *rest: Any) -> Any:
        order.extend(ids)
        return await renew(database, ids, *rest)

    monkeypatch.setattr(module, "_refresh_batch", noted)
    await refresh_all(db, captured)
    assert order == [soon, between, late, over]


async def test_schedules_due_within_the_horizon_are_refreshed_at_start_up(
    db: TimedDatabase, captured: CapturedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other schedules follow later, and both are logged as one refresh."""
    monkeypatch.setattr(module, "BATCH_SIZE", 1)
    (now,) = await db.rows("SELECT clock_timestamp() AS now")
    db.set_time(now.now)
    near, far = hours(1), hours(20)
    ids = await at_instants(db, *(now.now + each for each in (far, near, near, far)))
    refresh = TzdataRefresh(db.database, captured)
    await refresh.refresh_due(hours(10), timeout=10_000)
    assert await not_yet(db) == {ids[0], ids[3]}
    assert captured == []
    await refresh.refresh()
    assert await not_yet(db) == set()
    (total,) = captured.named("tzdata_updated")
    assert total["schedules"] == 4


async def test_start_up_does_not_wait_forever(db: TimedDatabase, captured: CapturedEvents) -> None:
    """This holds while another session holds a lock on one campaign."""
    (campaign_id,) = await at_instants(db, NOON + hours(1))
    refresh = TzdataRefresh(db.database, captured)
    async with db.store.edit(campaign_id):
        await refresh.refresh_due(days(100_000), timeout=0.1)
    assert await not_yet(db) == {campaign_id}
    await refresh.refresh()
    assert await not_yet(db) == set()


async def test_an_edit_that_commits_meanwhile_stands(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    """An edit that began before moves the schedule to another time of day, and wins.

    The other schedule does not wait for the edit.
    """
    campaign_id, _other = await at_instants(db, NOON + hours(1), NOON + hours(2))
    moved = daily_body(NOON + hours(9), timezone=BERLIN)
    async with db.store.edit(campaign_id) as edit:
        await refresh_all(db, captured)
        assert await not_yet(db) == {campaign_id}
        context = BodyContext(db.now, CampaignType.RECURRING)
        await edit.apply(commands.save(edit.snapshot, moved, context), "tester")
    await refresh_all(db, captured)
    assert await not_yet(db) == set()
    definition, timer = await db.definition_of(campaign_id), await db.timer_of(campaign_id)
    assert definition.time_of_day == timer.local.time() == time(23)
    assert definition.revision == timer.revision == edit.revision
    await db.check_invariants(campaign_id)


async def test_a_claim_that_commits_meanwhile_stands(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    """The claimed day is not armed again, and the next day is not skipped."""
    (campaign_id,) = await at_instants(db, NOON + hours(1))
    first = await db.timer_of(campaign_id)
    await make_stale(db)
    async with db.database.transaction() as claim:
        lock = sa.text("SELECT 1 FROM campaigns WHERE id = :id FOR UPDATE")
        await claim.execute(lock, {"id": campaign_id})
        await refresh_all(db, captured)
        advance = sa.text("UPDATE timers SET fire_at = fire_at + :day, local = local + :day")
        await claim.execute(advance, {"day": days(1)})
    await refresh_all(db, captured)
    timer = await db.timer_of(campaign_id)
    assert (timer.fire_at, timer.local) == (first.fire_at + days(1), first.local + days(1))
    await db.check_invariants(campaign_id)


async def test_a_moved_end_reaches_nodes_that_hold_the_schedule(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    """The next instant stays the same."""
    config = {"end_date": "2026-06-03"}
    campaign_id = await db.add_scheduled(
        daily_body(NOON + hours(1), timezone=BERLIN, config=config)
    )
    before = await db.timer_of(campaign_id)
    await db.rows(
        "UPDATE schedule_definitions SET tzdata = '2000a', ends_at = ends_at + :hour", hour=HOUR
    )
    assert await refresh_all(db, captured) == 0
    after = await db.timer_of(campaign_id)
    assert after.fire_at == before.fire_at
    assert after.revision > before.revision
    await db.check_invariants(campaign_id)


async def fired(db: TimedDatabase, campaign_id: int) -> None:
    """Claim by a node with older data: its next event is an hour late, without a mark."""
    node = await db.register_node()
    db.set_time((await db.timer_of(campaign_id)).fire_at)
    assert [won.campaign_id for won in await node.claim()] == [campaign_id]
    await db.rows("UPDATE timers SET fire_at = fire_at + interval '1 hour'")


async def test_an_event_planned_by_a_node_with_older_data_is_recomputed(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    campaign_id = await store_recurring(db)
    await fired(db, campaign_id)
    wrong = await db.timer_of(campaign_id)
    assert await recheck_claimed(db.database, captured, FIRST + HOUR) == (0, True), (
        "claimed before that"
    )
    assert await recheck_claimed(db.database, captured, FIRST - HOUR) == (1, True)
    right = await db.timer_of(campaign_id)
    assert right.fire_at == wrong.fire_at - HOUR == FIRST + days(1)
    assert right.revision > wrong.revision
    assert [each["now"] for each in captured.named("instants_moved")] == [right.fire_at]
    assert await recheck_claimed(db.database, captured, FIRST - HOUR) == (0, True)
    await db.check_invariants(campaign_id)


async def test_checks_while_a_node_with_older_data_is_live(
    db: TimedDatabase, captured: CapturedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more check follows, because the last claim may be newer than the last check."""
    monkeypatch.setattr(module, "FIRST_RECHECK", days(10_000))
    monkeypatch.setattr(module, "LONGEST_CLAIM", days(10_000))
    campaign_id = await store_recurring(db)
    await fired(db, campaign_id)
    refresh = TzdataRefresh(db.database, captured)
    await refresh.refresh()
    assert captured == []
    await db.rows("UPDATE nodes SET tzdata = '2000a'")
    await refresh.refresh()
    assert [name for name, _ in captured] == ["tzdata_differs", "instants_moved"]
    await db.rows("UPDATE timers SET fire_at = fire_at + interval '1 hour'")
    await db.rows("DELETE FROM nodes")
    await refresh.refresh()
    assert len(captured.named("instants_moved")) == 2
    assert (await db.timer_of(campaign_id)).fire_at == FIRST + days(1)
    await db.rows("UPDATE timers SET fire_at = fire_at + interval '1 hour'")
    await refresh.refresh()
    assert len(captured) == 3
