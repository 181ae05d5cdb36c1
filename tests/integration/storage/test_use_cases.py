"""Edit, copy and run now, on the real database."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.domain.errors import NotFound, PreconditionFailed, Refused
from tests.support import situations
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, hours, seconds
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import TimedDatabase

TARGETS = ["crm", "log"]


async def edit(db: TimedDatabase, campaign_id: int, body: Any, **more: Any) -> Any:
    return await db.control.edit_campaign(campaign_id, body, "ann", targets=TARGETS, **more)


async def test_an_edit_is_recorded_with_the_names_of_the_fields(db: TimedDatabase) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)), payload={"a": 1})
    done = await edit(db, campaign_id, {"name": "new", "payload": {"b": 2}})
    assert done.changed == ("name", "payload")
    assert done.next_run_at == NOON + hours(1)
    stored = await db.read_campaign(campaign_id)
    assert stored == done.campaign
    assert (stored.name, stored.payload) == ("new", {"a": 1, "b": 2})
    event = (await db.events_of(campaign_id))[-1]
    assert (event.event, event.actor) == ("amended", "ann")
    assert event.details == {"fields": ["name", "payload"]}
    (entry,) = await db.rows("SELECT * FROM audit_log WHERE action = 'campaign.amended'")
    assert (entry.object_id, entry.actor) == (str(campaign_id), "ann")


async def test_an_edit_that_changes_nothing_leaves_no_trace(db: TimedDatabase) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    before = await db.dump_rows(campaign_id)
    assert (await edit(db, campaign_id, {"name": "a campaign"})).changed == ()
    with pytest.raises(PreconditionFailed):
        await edit(db, campaign_id, {"name": "b"}, expect=lambda _tag: False)
    assert await db.dump_rows(campaign_id) == before


async def test_a_copy_is_a_draft_that_starts_like_its_original(db: TimedDatabase) -> None:
    campaign_id = await db.add_scheduled(
        daily_body(NOON + hours(1)), payload={"a": 1}, target="crm", timezone="Asia/Tokyo"
    )
    copy = await db.control.copy_campaign(campaign_id, "ann")
    made = copy.campaign
    assert (made.name, made.status, made.payload) == ("Copy of a campaign", "draft", {"a": 1})
    assert (made.target, made.timezone, copy.notes) == ("crm", "Asia/Tokyo", ())
    assert await db.timer_of(made.id) is None
    original, copied = await db.definition_of(campaign_id), await db.definition_of(made.id)
    assert (copied.body, copied.anchor_at) == (original.body, original.anchor_at)
    events = await db.events_of(made.id)
    assert [event.event for event in events] == ["created", "schedule_updated"]
    assert events[0].details == {"copied_from": campaign_id}
    await db.check_invariants(made.id)
    await db.control.start(made.id, "ann")
    assert (await db.timer_of(made.id)).fire_at == (await db.timer_of(campaign_id)).fire_at


async def test_the_copy_of_a_campaign_that_is_over_has_no_schedule(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await situations.completed(db, node)
    copy = await db.control.copy_campaign(campaign_id, "ann", "again")
    assert (copy.campaign.name, copy.schedule) == ("again", None)
    assert "was not copied" in copy.notes[0]
    assert await db.definition_of(copy.campaign.id) is None


async def test_no_copy_of_what_is_not_there(db: TimedDatabase) -> None:
    with pytest.raises(NotFound):
        await db.control.copy_campaign(12345, "ann")


async def test_the_schedule_goes_on_after_a_run_now(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await situations.launched_daily(db, node)
    db.advance(seconds(1))
    timer = await db.timer_of(campaign_id)
    done = await db.control.run_now(campaign_id, "ann")
    assert (done.to_status, done.next_run_at) == ("executing", db.now)
    assert await db.timer_of(campaign_id) == timer
    (run,) = [run for run in await db.runs_of(campaign_id) if run.status == "queued"]
    assert (run.id, run.cause, run.scheduled_for) == (done.run_id, "rerun", db.now)
    ((work,), _) = await node.claim_attempts()
    await node.finish(work)
    assert await db.status_of(campaign_id) == "launched"
    await db.check_invariants(campaign_id)
    event = next(each for each in await db.events_of(campaign_id) if each.event == "run_now")
    assert (event.actor, event.run_id) == ("ann", run.id)
    db.set_time(timer.fire_at)
    (won,) = await node.claim(await db.due_events(campaign_id))
    assert won.to_status == "executing", "the occurrence fires as it would have"


async def test_a_run_now_takes_no_occurrence_of_the_same_instant(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await situations.scheduled_daily(db, node)
    db.set_time((await db.timer_of(campaign_id)).fire_at)
    done = await db.control.run_now(campaign_id, "ann")
    assert done.next_run_at is not None
    assert done.next_run_at > db.now


async def test_skip_refuses_a_run_now_beside_an_open_run(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await situations.executing_daily(db, node)
    before = await db.dump_rows(campaign_id)
    db.advance(seconds(1))
    with pytest.raises(Refused, match="overlap is skip"):
        await db.control.run_now(campaign_id, "ann")
    assert await db.dump_rows(campaign_id) == before


async def test_queue_lets_one_run_now_wait(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await situations.executing_daily_queue(db, node)
    db.advance(seconds(1))
    await db.control.run_now(campaign_id, "ann")
    await db.check_invariants(campaign_id)
    assert await db.due_pending_runs(campaign_id) == []
    db.advance(seconds(1))
    with pytest.raises(Refused, match="another one waits"):
        await db.control.run_now(campaign_id, "ann")
    (work,) = await db.executing_attempts(campaign_id)
    await node.finish(work)
    await db.check_invariants(campaign_id)
    assert await db.run_statuses_of(campaign_id) == ["completed", "queued"]
    assert len(await db.due_pending_runs(campaign_id)) == 1


async def test_allow_runs_beside_an_open_run(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await situations.executing_daily_allow(db, node)
    db.advance(seconds(1))
    await db.control.run_now(campaign_id, "ann")
    assert await db.run_statuses_of(campaign_id) == ["executing", "queued"]
    assert len(await db.due_pending_runs(campaign_id)) == 1
    await db.check_invariants(campaign_id)


@pytest.mark.parametrize(
    ("situation", "instead"),
    [("paused_ahead", "start it first"), ("draft", "start it first"), ("failed", "rerun it")],
)
async def test_a_refused_run_now_says_what_to_do(
    db: TimedDatabase, node: DatabaseNode, situation: str, instead: str
) -> None:
    campaign_id = await getattr(situations, situation)(db, node)
    with pytest.raises(Refused, match=instead):
        await db.control.run_now(campaign_id, "ann")
