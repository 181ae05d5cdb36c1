"""A pause that ends by itself, on the real database (docs/semantics.md#lifecycle)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from daemon.domain.errors import InvalidInput, Refused
from daemon.maintenance.resumer import Resumer
from daemon.runtime.clock import SystemClock
from daemon.runtime.database_health import DatabaseHealth
from storage.campaign_reads import CampaignReads
from tests.support.builders import daily_body
from tests.support.capture import CapturedEvents
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase, events_named

NAME = "summer holidays"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


PAUSED_AT, UNTIL = at("2026-08-19T12:00Z"), at("2026-08-23T22:00Z")


@pytest.fixture
def emitted() -> CapturedEvents:
    return CapturedEvents()


@pytest.fixture
def resumer(db: TimedDatabase, emitted: CapturedEvents) -> Resumer:
    health = DatabaseHealth(emitted, SystemClock())
    return Resumer(db.store, 3600, health=health, emit=emitted)


async def paused_daily(db: TimedDatabase, until: str | None, **config: Any) -> int:
    """Return a campaign, daily at nine in Paris, that is paused on 19 August at 12:00 UTC."""
    db.set_time(PAUSED_AT)
    body = daily_body(at("2026-08-20T07:00Z"), timezone="Europe/Paris", config=config)
    campaign_id = await db.add_scheduled(body)
    written = None if until is None else datetime.fromisoformat(until)
    await db.control.pause(campaign_id, "ann", NAME, written)
    return campaign_id


async def pass_days(db: TimedDatabase, node: DatabaseNode, *days: int) -> None:
    for day in days:
        db.set_time(at(f"2026-08-{day}T07:00Z"))
        await node.claim()


@pytest.mark.parametrize("until", ["2026-08-24T00:00", "2026-08-24T00:00+02:00"])
async def test_j1_1_and_8_it_goes_on_at_midnight_of_its_zone(
    db: TimedDatabase, node: DatabaseNode, resumer: Resumer, until: str
) -> None:
    campaign_id = await paused_daily(db, until)
    await pass_days(db, node, 20, 21, 22, 23)
    db.set_time(at("2026-08-23T21:59:59Z"))
    await resumer.run_once()
    assert await db.status_of(campaign_id) == "paused"
    db.set_time(UNTIL)
    await resumer.run_once()
    assert await db.status_of(campaign_id) == "launched"
    event = events_named(await db.events_of(campaign_id), "start")[-1]
    assert (event.actor, event.cause, event.to_status) == ("schedule", "until", "launched")
    assert await db.run_statuses_of(campaign_id) == ["missed"] * 4
    causes = {each.cause for each in events_named(await db.events_of(campaign_id), "passed")}
    assert causes == {"missed: paused"}
    db.set_time(at("2026-08-24T07:00Z"))
    (won,) = await node.claim()
    assert won.to_status == "executing"
    await resumer.run_once()
    assert len(events_named(await db.events_of(campaign_id), "start")) == 1
    await db.check_invariants(campaign_id)


async def test_j1_2_a_start_comes_first(
    db: TimedDatabase, node: DatabaseNode, resumer: Resumer
) -> None:
    campaign_id = await paused_daily(db, "2026-08-24T00:00")
    await pass_days(db, node, 20, 21)
    db.set_time(at("2026-08-21T12:00Z"))
    done = await db.control.start(campaign_id, "ann")
    assert (done.to_status, done.next_run_at) == ("launched", at("2026-08-22T07:00Z"))
    assert (await db.read_campaign(campaign_id)).paused_until is None
    db.set_time(UNTIL)
    await resumer.run_once()
    assert len(events_named(await db.events_of(campaign_id), "start")) == 1


async def test_j1_3_nothing_is_to_come_when_the_pause_is_over(
    db: TimedDatabase, node: DatabaseNode, resumer: Resumer
) -> None:
    campaign_id = await paused_daily(db, "2026-08-24T00:00", end_date="2026-08-21")
    await pass_days(db, node, 20, 21)
    db.set_time(UNTIL)
    for _ in range(2):
        await resumer.run_once()
    assert await db.status_of(campaign_id) == "paused"
    (event,) = events_named(await db.events_of(campaign_id), "resume_failed")
    assert (event.actor, event.from_status, event.to_status) == ("schedule", "paused", "paused")
    assert "no occurrence is left" in event.cause


async def test_j1_3_a_window_has_closed_when_the_pause_is_over(
    db: TimedDatabase, node: DatabaseNode, resumer: Resumer
) -> None:
    db.set_time(PAUSED_AT)
    window = {"startdate": "2026-08-20T07:00Z", "enddate": "2026-08-21T07:00Z"}
    campaign_id = await db.add_started("live_content", window)
    await db.control.pause(campaign_id, "ann", until=UNTIL)
    await pass_days(db, node, 20, 21)
    assert await db.status_of(campaign_id) == "completed"
    db.set_time(UNTIL)
    for _ in range(2):
        await resumer.run_once()
    assert await db.status_of(campaign_id) == "completed"
    (event,) = events_named(await db.events_of(campaign_id), "resume_failed")
    assert event.cause == "the campaign is completed"


async def test_j1_4_it_goes_on_as_soon_as_a_node_is_back(
    db: TimedDatabase, resumer: Resumer, emitted: CapturedEvents
) -> None:
    campaign_id = await paused_daily(db, "2026-08-24T00:00")
    db.set_time(at("2026-08-24T07:30Z"))
    await resumer.run_once()
    assert await db.status_of(campaign_id) == "launched"
    assert await db.run_statuses_of(campaign_id) == ["missed"] * 5
    assert len(emitted.named("run_missed")) == 5
    assert (await db.timer_of(campaign_id)).fire_at == at("2026-08-25T07:00Z")


async def test_j1_5_a_second_pause_without_until_lasts(db: TimedDatabase, resumer: Resumer) -> None:
    campaign_id = await paused_daily(db, "2026-08-24T00:00")
    db.set_time(at("2026-08-20T12:00Z"))
    done = await db.control.pause(campaign_id, "bob", "until further notice")
    assert (done.changed, done.from_status, done.to_status) == (True, "paused", "paused")
    pause = (await CampaignReads(db.database).campaign(campaign_id)).pause
    assert pause is not None
    assert (pause.since, pause.by, pause.until) == (PAUSED_AT, "bob", None)
    assert pause.note == "until further notice"
    db.set_time(UNTIL)
    await resumer.run_once()
    assert await db.status_of(campaign_id) == "paused"


async def test_j1_6_it_goes_on_during_a_freeze_and_what_is_due_waits_for_the_thaw(
    db: TimedDatabase, node: DatabaseNode, resumer: Resumer
) -> None:
    campaign_id = await paused_daily(db, "2026-08-24T00:00")
    await pass_days(db, node, 20, 21, 22, 23)
    db.set_time(at("2026-08-23T12:00Z"))
    await db.brakes.freeze(None, "ann")
    db.set_time(UNTIL)
    await resumer.run_once()
    assert await db.status_of(campaign_id) == "launched"
    db.set_time(at("2026-08-24T07:00Z"))
    assert await node.claim() == []
    db.set_time(at("2026-08-24T07:01Z"))
    await db.brakes.thaw(None, "ann")
    (won,) = await node.claim()
    assert (won.made, won.scheduled_for) == ("held", at("2026-08-24T07:00Z"))


async def test_j1_7_a_saved_schedule_keeps_the_pause_and_its_end(
    db: TimedDatabase, resumer: Resumer
) -> None:
    campaign_id = await paused_daily(db, "2026-08-24T00:00")
    body = daily_body(at("2026-08-25T07:00Z"))
    assert (await db.control.save_schedule(campaign_id, body, "ann")).to_status == "paused"
    pause = (await CampaignReads(db.database).campaign(campaign_id)).pause
    assert pause is not None
    assert (pause.by, pause.until, pause.note) == ("ann", UNTIL, NAME)
    db.set_time(UNTIL)
    await resumer.run_once()
    assert await db.status_of(campaign_id) == "scheduled"


@pytest.mark.parametrize(
    ("until", "part"),
    [
        ("2026-08-19T12:00+00:00", "is '2026-08-19T12:00:00+00:00', must be after 2026-08-19T12"),
        ("2026-08-19T13:59:59", "must be after"),
        ("2036-09-01T00:00", "must be at most ten years ahead"),
        ("9999-12-31T23:59-12:00", "in UTC outside the years 1 to 9999"),
    ],
)
async def test_a_pause_that_would_end_at_another_time_is_refused(
    db: TimedDatabase, until: str, part: str
) -> None:
    db.set_time(PAUSED_AT)
    body = daily_body(at("2026-08-20T07:00Z"), timezone="Europe/Paris")
    campaign_id = await db.add_scheduled(body)
    with pytest.raises(InvalidInput) as caught:
        await db.control.pause(campaign_id, "ann", until=datetime.fromisoformat(until))
    assert (caught.value.status, list(caught.value.errors)) == (400, ["until"])
    assert part in caught.value.detail
    assert await db.status_of(campaign_id) == "scheduled"


async def test_a_stop_ends_the_pause(db: TimedDatabase, resumer: Resumer) -> None:
    campaign_id = await paused_daily(db, "2026-08-24T00:00")
    await db.control.stop(campaign_id, "ann", "no more")
    assert events_named(await db.events_of(campaign_id), "stop")[-1].details == {"note": "no more"}
    (entry,) = await db.rows("SELECT * FROM audit_log WHERE action = 'campaign.stopped'")
    assert entry.note == "no more"
    db.set_time(UNTIL)
    await resumer.run_once()
    assert await db.status_of(campaign_id) == "cancelled"
    assert events_named(await db.events_of(campaign_id), "resume_failed") == []


async def test_the_poll_finds_a_pause_that_is_over(db: TimedDatabase) -> None:
    campaign_id = await paused_daily(db, "2026-08-24T00:00")
    found = await db.timers.poll("0", db.now, db.now, 10)
    await db.rows("UPDATE campaigns SET paused_until = now() + interval '1 hour'")
    assert not (await db.timers.poll("0", db.now, db.now, 10)).pause_over
    await db.rows("UPDATE campaigns SET paused_until = now() - interval '1 second'")
    assert (await db.timers.poll("0", db.now, db.now, 10)).pause_over
    with pytest.raises(Refused):
        await db.control.archive(campaign_id, "ann")
    assert found.overdue is False
