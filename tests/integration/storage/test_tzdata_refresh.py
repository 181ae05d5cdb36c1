"""Instants stored under older time-zone data are recomputed once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from daemon.domain.campaign import commands
from daemon.domain.requests import Context
from daemon.domain.schedule.schedule import CampaignType
from daemon.domain.schedule.timezones import tzdata_version
from storage import tzdata_refresh as module
from storage.tzdata_refresh import TzdataRefresh, recheck_claimed
from tests.support.builders import daily_body
from tests.support.capture import CapturedEvents
from tests.support.clocks import NOON, days, hours, minutes
from tests.support.timed_database import TimedDatabase, iso

START = "2026-06-10T09:30:00"
BERLIN = "Europe/Berlin"
FIRST = datetime(2026, 6, 10, 7, 30, tzinfo=UTC)


async def refresh_all(db: TimedDatabase, captured: CapturedEvents) -> int:
    """Refresh every schedule; return the number of moved instants."""
    before = len(captured.named("instants_moved"))
    await TzdataRefresh(db.database, captured).refresh()
    return len(captured.named("instants_moved")) - before


@pytest.fixture
def captured() -> CapturedEvents:
    return CapturedEvents()


async def recurring(db: TimedDatabase) -> int:
    return await db.started("recurring", {"startdate": START, "timezone": BERLIN})


async def one_off(db: TimedDatabase) -> int:
    body = {"schedule_type": "scheduled", "scheduled_at": START, "timezone": BERLIN}
    return await db.saved(body)


async def anchorless(db: TimedDatabase) -> int:
    config = {"frequency": "weekly", "days_of_week": [3], "time": "09:30", "time_zone": BERLIN}
    return await db.saved({"schedule_type": "recurring", "recurring_config": config})


async def opening(db: TimedDatabase) -> int:
    body = {"startdate": START, "timezone": BERLIN, "enddate": "2026-06-20T09:30:00"}
    return await db.started("event_triggered", body)


async def with_offsets(db: TimedDatabase) -> int:
    return await db.saved(
        {"schedule_type": "scheduled", "scheduled_at": iso(FIRST), "timezone": BERLIN}
    )


HOUR = timedelta(hours=1)


async def made_stale(db: TimedDatabase, shift: timedelta = HOUR) -> None:
    """Pretend that the zones had other offsets when the schedules were stored."""
    await db.rows(
        "UPDATE schedule_definitions SET tzdata = '2000a', anchor_at = anchor_at + :shift,"
        " ends_at = ends_at + :shift",
        shift=shift,
    )
    await db.rows("UPDATE timers SET fire_at = fire_at + :shift", shift=shift)


@pytest.mark.parametrize("build", [recurring, one_off, opening, anchorless])
async def test_instants_follow_the_wall_clock(
    db: TimedDatabase, captured: CapturedEvents, build: Any
) -> None:
    if build is anchorless:
        db.set(datetime(2026, 6, 9, tzinfo=UTC))
    campaign_id = await build(db)
    timer, definition = await db.timer(campaign_id), await db.definition(campaign_id)
    assert timer.fire_at == FIRST
    await made_stale(db)
    stale = await db.timer(campaign_id)

    assert await refresh_all(db, captured) == 1
    after = await db.timer(campaign_id)
    assert (after.fire_at, after.local, after.kind) == (FIRST, timer.local, timer.kind)
    assert after.revision > stale.revision, "what a node still holds is stale"
    now = await db.definition(campaign_id)
    assert (now.anchor_at, now.ends_at, now.tzdata) == (
        definition.anchor_at,
        definition.ends_at,
        tzdata_version(),
    )
    assert now.body == definition.body
    assert now.revision == after.revision
    (moved,) = captured.named("instants_moved")
    assert (moved["campaign_id"], moved["was"], moved["now"]) == (
        campaign_id,
        stale.fire_at,
        FIRST,
    )
    (total,) = captured.named("tzdata_updated")
    assert (total["schedules"], total["moved"]) == (1, 1)
    await db.check(campaign_id)


async def test_only_once(db: TimedDatabase, captured: CapturedEvents) -> None:
    campaign_id = await recurring(db)
    await made_stale(db)
    await refresh_all(db, captured)
    before, count = await db.dump(campaign_id), len(captured)
    assert await refresh_all(db, captured) == 0
    assert await db.dump(campaign_id) == before
    assert len(captured) == count


async def test_an_unmoved_instant_is_not_written(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    campaign_id = await recurring(db)
    await made_stale(db, hours(0))
    before = await db.definition(campaign_id)
    assert await refresh_all(db, captured) == 0
    after = await db.definition(campaign_id)
    assert (after.revision, after.changed_in) == (before.revision, before.changed_in)
    assert after.tzdata == tzdata_version()
    assert captured.named("instants_moved") == []


async def test_instants_given_with_their_offset_stay(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    campaign_id = await with_offsets(db)
    await db.rows("UPDATE schedule_definitions SET tzdata = '2000a'")
    assert await refresh_all(db, captured) == 0
    assert (await db.timer(campaign_id)).fire_at == FIRST


async def test_a_node_with_older_data_changes_nothing(
    db: TimedDatabase, captured: CapturedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign_id = await recurring(db)
    before = await db.dump(campaign_id)
    monkeypatch.setattr(module, "tzdata_version", lambda: "1999z")
    assert await refresh_all(db, captured) == 0
    assert (await db.dump(campaign_id), captured) == (before, [])


async def test_the_close_of_an_open_window_moves(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    campaign_id = await opening(db)
    node = await db.node()
    db.set(FIRST)
    await node.claim()
    close = await db.timer(campaign_id)
    assert close.kind == "close"
    await made_stale(db)
    assert await refresh_all(db, captured) == 1
    assert (await db.timer(campaign_id)).fire_at == close.fire_at


async def test_runs_of_a_continuous_window_move_with_its_start(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    body = {"startdate": START, "timezone": BERLIN, "recurring_schedule": "continuously"}
    campaign_id = await db.started("segment_triggered", body)
    node = await db.node()
    db.set(FIRST)
    await node.claim()
    db.set(FIRST + timedelta(seconds=0))
    await node.claim()
    timer = await db.timer(campaign_id)
    await made_stale(db)
    assert await refresh_all(db, captured) == 1
    assert (await db.timer(campaign_id)).fire_at == timer.fire_at
    assert (await db.definition(campaign_id)).every_seconds == 300


async def test_more_than_a_batch(
    db: TimedDatabase, captured: CapturedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_SIZE", 3)
    monkeypatch.setattr(module, "LIST_SIZE", 6)
    ids = [await recurring(db) for _ in range(7)]
    draft = await db.create("recurring")
    await db.control.update_schedule(draft, {"startdate": START, "timezone": BERLIN}, "tester")
    await made_stale(db)
    assert await refresh_all(db, captured) == 7
    assert {(await db.timer(each)).fire_at for each in ids} == {FIRST}
    (total,) = captured.named("tzdata_updated")
    assert (total["schedules"], total["moved"]) == (8, 7)
    assert (await db.definition(draft)).anchor_at == FIRST


async def test_settings_beside_the_times_stay(db: TimedDatabase, captured: CapturedEvents) -> None:
    body = {
        "startdate": START,
        "timezone": BERLIN,
        "overlap": "queue",
        "coalesce": False,
        "misfire_grace_time": 17,
        "repeating_schedule_attributes": {"interval_size": 2, "interval_unit": "week"},
    }
    campaign_id = await db.started("recurring", body)
    before = await db.definition(campaign_id)
    await made_stale(db)
    await refresh_all(db, captured)
    after = await db.definition(campaign_id)
    changed = {name for name in before._fields if getattr(before, name) != getattr(after, name)}
    assert changed <= {"revision", "changed_in"}
    assert NOON + days(1) < after.anchor_at


async def test_an_invalid_schedule_does_not_block_the_others(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    """A schedule in a removed zone is logged once and left unchanged; the others are refreshed."""
    gone = await recurring(db)
    kept = await one_off(db)
    await made_stale(db)
    await db.rows(
        'UPDATE schedule_definitions SET body = body || \'{"timezone": "Mars/Olympus"}\''
        " WHERE campaign_id = :id",
        id=gone,
    )
    before = await db.rows("SELECT fire_at FROM timers WHERE campaign_id = :id", id=gone)
    assert await refresh_all(db, captured) == 1
    assert [each["campaign_id"] for each in captured.named("schedule_invalid")] == [gone]
    assert [each["campaign_id"] for each in captured.named("instants_moved")] == [kept]
    after = await db.rows("SELECT fire_at FROM timers WHERE campaign_id = :id", id=gone)
    assert after == before
    captured.clear()
    assert await refresh_all(db, captured) == 0
    assert captured == []


async def at_instants(db: TimedDatabase, *instants: datetime) -> list[int]:
    """Create campaigns that run daily from the instants on, stored under older data."""
    ids = [await db.saved(daily_body(at, timezone=BERLIN)) for at in instants]
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
    db.set(now.now)
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


async def waiting_refresh(db: TimedDatabase, captured: CapturedEvents) -> asyncio.Task[None]:
    """A refresh that waits for a session with a lock on one campaign."""
    task = asyncio.create_task(TzdataRefresh(db.database, captured).refresh())
    blocked = (
        "SELECT count(*) AS found FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(60):
        while (await db.rows(blocked))[0].found == 0:  # noqa: ASYNC110 - the server sends no event
            await asyncio.sleep(0.01)
    return task


async def test_an_edit_that_commits_meanwhile_stands(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    """An edit that began before moves the schedule to another time of day, and wins."""
    (campaign_id,) = await at_instants(db, NOON + hours(1))
    moved = daily_body(NOON + hours(9), timezone=BERLIN)
    async with db.store.edit(campaign_id) as edit:
        task = await waiting_refresh(db, captured)
        context = Context(db.now, CampaignType.RECURRING)
        await edit.apply(commands.save(edit.snapshot, moved, context), "tester")
    await task
    definition, timer = await db.definition(campaign_id), await db.timer(campaign_id)
    assert definition.time_of_day == timer.local.time() == time(23)
    assert definition.revision == timer.revision == edit.revision
    await db.check(campaign_id)


async def test_a_claim_that_commits_meanwhile_stands(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    """The claimed day is not armed again, and the next day is not skipped."""
    (campaign_id,) = await at_instants(db, NOON + hours(1))
    first = await db.timer(campaign_id)
    await made_stale(db)
    async with db.database.transaction() as claim:
        lock = sa.text("SELECT 1 FROM campaigns WHERE id = :id FOR UPDATE")
        await claim.execute(lock, {"id": campaign_id})
        task = await waiting_refresh(db, captured)
        advance = sa.text("UPDATE timers SET fire_at = fire_at + :day, local = local + :day")
        await claim.execute(advance, {"day": days(1)})
    await task
    timer = await db.timer(campaign_id)
    assert (timer.fire_at, timer.local) == (first.fire_at + days(1), first.local + days(1))
    await db.check(campaign_id)


async def test_a_moved_end_reaches_nodes_that_hold_the_schedule(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    """The next instant stays the same."""
    config = {"end_date": "2026-06-03"}
    campaign_id = await db.saved(daily_body(NOON + hours(1), timezone=BERLIN, config=config))
    before = await db.timer(campaign_id)
    await db.rows(
        "UPDATE schedule_definitions SET tzdata = '2000a', ends_at = ends_at + :hour", hour=HOUR
    )
    assert await refresh_all(db, captured) == 0
    after = await db.timer(campaign_id)
    assert after.fire_at == before.fire_at
    assert after.revision > before.revision
    await db.check(campaign_id)


async def fired(db: TimedDatabase, campaign_id: int) -> None:
    """Claim by a node with older data: its next event is an hour late, without a mark."""
    node = await db.node()
    db.set((await db.timer(campaign_id)).fire_at)
    assert [won.campaign_id for won in await node.claim()] == [campaign_id]
    await db.rows("UPDATE timers SET fire_at = fire_at + interval '1 hour'")


async def test_an_event_planned_by_a_node_with_older_data_is_recomputed(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    campaign_id = await recurring(db)
    await fired(db, campaign_id)
    wrong = await db.timer(campaign_id)
    assert await recheck_claimed(db.database, captured, FIRST + HOUR) == 0, "claimed before that"
    assert await recheck_claimed(db.database, captured, FIRST - HOUR) == 1
    right = await db.timer(campaign_id)
    assert right.fire_at == wrong.fire_at - HOUR == FIRST + days(1)
    assert right.revision > wrong.revision
    assert [each["now"] for each in captured.named("instants_moved")] == [right.fire_at]
    assert await recheck_claimed(db.database, captured, FIRST - HOUR) == 0
    await db.check(campaign_id)


async def test_checks_while_a_node_with_older_data_is_live(
    db: TimedDatabase, captured: CapturedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more check follows, because the last claim may be newer than the last check."""
    monkeypatch.setattr(module, "FIRST_RECHECK", days(10_000))
    monkeypatch.setattr(module, "LONGEST_CLAIM", days(10_000))
    campaign_id = await recurring(db)
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
    assert (await db.timer(campaign_id)).fire_at == FIRST + days(1)
    await db.rows("UPDATE timers SET fire_at = fire_at + interval '1 hour'")
    await refresh.refresh()
    assert len(captured) == 3


@pytest.mark.parametrize("running", ["unknown", "none", "sha256-0123"])
async def test_data_without_a_release_name_refreshes_nothing(
    db: TimedDatabase, captured: CapturedEvents, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name does not show whether the data is newer."""
    await one_off(db)
    await made_stale(db)
    monkeypatch.setattr(module, "tzdata_version", lambda: running)
    assert await refresh_all(db, captured) == 0
    assert captured == []
