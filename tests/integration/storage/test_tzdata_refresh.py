"""Instants stored under older time-zone data are recomputed once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.domain.schedule.zone_data import tzdata_version
from storage import tzdata_refresh as module
from tests.support.capture import CapturedEvents
from tests.support.clocks import NOON, days, hours
from tests.support.stale_schedules import (
    BERLIN,
    FIRST,
    START,
    make_stale,
    refresh_all,
    store_anchorless,
    store_one_off,
    store_opening,
    store_recurring,
    store_with_offsets,
)
from tests.support.timed_database import TimedDatabase


@pytest.fixture
def captured() -> CapturedEvents:
    return CapturedEvents()


@pytest.mark.parametrize("build", [store_recurring, store_one_off, store_opening, store_anchorless])
async def test_instants_follow_the_wall_clock(
    db: TimedDatabase, captured: CapturedEvents, build: Any
) -> None:
    if build is store_anchorless:
        db.set_time(datetime(2026, 6, 9, tzinfo=UTC))
    campaign_id = await build(db)
    timer, definition = await db.timer_of(campaign_id), await db.definition_of(campaign_id)
    assert timer.fire_at == FIRST
    await make_stale(db)
    stale = await db.timer_of(campaign_id)

    assert await refresh_all(db, captured) == 1
    after = await db.timer_of(campaign_id)
    assert (after.fire_at, after.local, after.kind) == (FIRST, timer.local, timer.kind)
    assert after.revision > stale.revision, "what a node still holds is stale"
    now = await db.definition_of(campaign_id)
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
    await db.check_invariants(campaign_id)


async def test_only_once(db: TimedDatabase, captured: CapturedEvents) -> None:
    campaign_id = await store_recurring(db)
    await make_stale(db)
    await refresh_all(db, captured)
    before, count = await db.dump_rows(campaign_id), len(captured)
    assert await refresh_all(db, captured) == 0
    assert await db.dump_rows(campaign_id) == before
    assert len(captured) == count


async def test_an_unmoved_instant_is_not_written(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    campaign_id = await store_recurring(db)
    await make_stale(db, hours(0))
    before = await db.definition_of(campaign_id)
    assert await refresh_all(db, captured) == 0
    after = await db.definition_of(campaign_id)
    assert (after.revision, after.changed_in) == (before.revision, before.changed_in)
    assert after.tzdata == tzdata_version()
    assert captured.named("instants_moved") == []


async def test_instants_given_with_their_offset_stay(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    campaign_id = await store_with_offsets(db)
    await db.rows("UPDATE schedule_definitions SET tzdata = '2000a'")
    assert await refresh_all(db, captured) == 0
    assert (await db.timer_of(campaign_id)).fire_at == FIRST


async def test_a_node_with_older_data_changes_nothing(
    db: TimedDatabase, captured: CapturedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign_id = await store_recurring(db)
    before = await db.dump_rows(campaign_id)
    monkeypatch.setattr(module, "tzdata_version", lambda: "1999z")
    assert await refresh_all(db, captured) == 0
    assert (await db.dump_rows(campaign_id), captured) == (before, [])


async def test_the_close_of_an_open_window_moves(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    campaign_id = await store_opening(db)
    node = await db.register_node()
    db.set_time(FIRST)
    await node.claim()
    close = await db.timer_of(campaign_id)
    assert close.kind == "close"
    await make_stale(db)
    assert await refresh_all(db, captured) == 1
    assert (await db.timer_of(campaign_id)).fire_at == close.fire_at


async def test_runs_of_a_continuous_window_move_with_its_start(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    body = {"startdate": START, "timezone": BERLIN, "recurring_schedule": "continuously"}
    campaign_id = await db.add_started("segment_triggered", body)
    node = await db.register_node()
    db.set_time(FIRST)
    await node.claim()
    db.set_time(FIRST + timedelta(seconds=0))
    await node.claim()
    timer = await db.timer_of(campaign_id)
    await make_stale(db)
    assert await refresh_all(db, captured) == 1
    assert (await db.timer_of(campaign_id)).fire_at == timer.fire_at
    assert (await db.definition_of(campaign_id)).every_seconds == 300


async def test_more_than_a_batch(
    db: TimedDatabase, captured: CapturedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_SIZE", 3)
    monkeypatch.setattr(module, "LIST_SIZE", 6)
    ids = [await store_recurring(db) for _ in range(7)]
    draft = await db.add_draft("recurring")
    await db.control.update_schedule(draft, {"startdate": START, "timezone": BERLIN}, "tester")
    await make_stale(db)
    assert await refresh_all(db, captured) == 7
    assert {(await db.timer_of(each)).fire_at for each in ids} == {FIRST}
    (total,) = captured.named("tzdata_updated")
    assert (total["schedules"], total["moved"]) == (8, 7)
    assert (await db.definition_of(draft)).anchor_at == FIRST


async def test_settings_beside_the_times_stay(db: TimedDatabase, captured: CapturedEvents) -> None:
    body = {
        "startdate": START,
        "timezone": BERLIN,
        "overlap": "queue",
        "coalesce": False,
        "misfire_grace_time": 17,
        "repeating_schedule_attributes": {"interval_size": 2, "interval_unit": "week"},
    }
    campaign_id = await db.add_started("recurring", body)
    before = await db.definition_of(campaign_id)
    await make_stale(db)
    await refresh_all(db, captured)
    after = await db.definition_of(campaign_id)
    changed = {name for name in before._fields if getattr(before, name) != getattr(after, name)}
    assert changed <= {"revision", "changed_in", "armed_from"}
    assert NOON + days(1) < after.anchor_at


async def test_an_invalid_schedule_does_not_block_the_others(
    db: TimedDatabase, captured: CapturedEvents
) -> None:
    """A schedule in a removed zone is logged once and left unchanged; the others are refreshed."""
    gone = await store_recurring(db)
    kept = await store_one_off(db)
    await make_stale(db)
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


@pytest.mark.parametrize("running", ["unknown", "none", "sha256-0123"])
async def test_data_without_a_release_name_refreshes_nothing(
    db: TimedDatabase, captured: CapturedEvents, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name does not show whether the data is newer."""
    await store_one_off(db)
    await make_stale(db)
    monkeypatch.setattr(module, "tzdata_version", lambda: running)
    assert await refresh_all(db, captured) == 0
    assert captured == []
