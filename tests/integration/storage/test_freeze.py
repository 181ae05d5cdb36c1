"""Freezes and thaws over a real database: what begins, what waits, what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon.domain.brakes import Overdue
from daemon.domain.errors import Conflict
from daemon.domain.run.claim_plan import plan
from daemon.domain.run.held import ConfirmationRequired
from daemon.domain.run.outcome import Queued, Retry
from daemon.runtime.clock import SystemClock
from daemon.runtime.node_identity import NodeIdentity
from storage.leases import LeaseTable
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, hours, minutes, seconds
from tests.support.database_node import DatabaseNode
from tests.support.fired import fire_one_off
from tests.support.timed_database import TimedDatabase

ANN = "cli:ann"


def at(text: str, day: int = 2) -> datetime:
    """Return an instant of 2 June 2026."""
    return datetime.fromisoformat(f"2026-06-{day:02}T{text}+00:00").astimezone(UTC)


SEVEN = at("07:00:00")


@pytest.fixture
async def campaign(db: TimedDatabase) -> int:
    """Campaign D: daily 09:00 Europe/Paris, grace 600."""
    return await add_daily(db)


async def add_daily(db: TimedDatabase, **fields: Any) -> int:
    body = {
        "schedule_type": "recurring",
        "recurring_config": {"frequency": "daily", "time": "09:00", "time_zone": "Europe/Paris"},
        "misfire_grace_time": 600,
    }
    return await db.add_scheduled(body, kind="recurring", **fields)


async def freeze(db: TimedDatabase, text: str, target: str | None = None, **options: Any) -> Any:
    db.set_time(at(text))
    return await db.brakes.freeze(target, ANN, **options)


async def thaw(db: TimedDatabase, text: str, overdue: str = "hold", **options: Any) -> Any:
    db.set_time(at(text))
    return await db.brakes.thaw(None, ANN, overdue=Overdue(overdue), **options)


async def test_g1_1_nothing_is_written_during_a_freeze(
    db: TimedDatabase, node: DatabaseNode, campaign: int
) -> None:
    await freeze(db, "06:59:30")
    db.set_time(at("07:05:00"))
    assert await node.claim() == []
    assert await db.runs_of(campaign) == []
    assert (await db.timer_of(campaign)).fire_at == SEVEN


async def held_by_thaw(db: TimedDatabase, node: DatabaseNode) -> Any:
    await freeze(db, "06:59:30")
    done = await thaw(db, "07:30:00")
    assert done.waiting == 1
    (won,) = await node.claim()
    return won


async def test_g1_2_what_came_due_is_held(
    db: TimedDatabase, node: DatabaseNode, campaign: int
) -> None:
    won = await held_by_thaw(db, node)
    assert (won.made, won.scheduled_for) == ("held", SEVEN)
    (run,) = await db.runs_of(campaign)
    assert (run.status, run.attempt, run.error) == ("held", 0, "held: due while frozen")
    found = await db.read_campaign(campaign)
    assert (found.status, found.held_runs) == ("executing", 1)
    assert (await db.timer_of(campaign)).fire_at == at("07:00:00", 3)


async def test_g1_3_a_release_starts_it_with_its_grace_anew(
    db: TimedDatabase, node: DatabaseNode, campaign: int
) -> None:
    won = await held_by_thaw(db, node)
    db.set_time(at("07:31:00"))
    await db.control.release(won.run_id, ANN)
    ((work,), _) = await node.claim_attempts()
    assert (work.number, work.run_id, work.start_before) == (1, won.run_id, at("07:41:00"))


async def test_g1_4_a_drop_ends_it(db: TimedDatabase, node: DatabaseNode, campaign: int) -> None:
    won = await held_by_thaw(db, node)
    await db.control.drop(won.run_id, ANN)
    assert (await db.events_of(campaign))[-1].cause == "missed: dropped by cli:ann"
    assert await db.status_of(campaign) == "launched"


@pytest.mark.parametrize(
    ("thawed", "made"), [("07:05:00", "executing"), ("07:10:01", "missed")], ids=["g1_5", "g1_6"]
)
async def test_g1_5_and_6_by_policy_the_grace_of_the_schedule_decides(
    db: TimedDatabase, node: DatabaseNode, campaign: int, thawed: str, made: str
) -> None:
    await freeze(db, "06:59:30")
    with pytest.raises(ConfirmationRequired, match="this concerns 1 starts"):
        await thaw(db, thawed, "policy")
    assert (await thaw(db, thawed, "policy", confirm=1)).waiting == 1
    (won,) = await node.claim()
    assert won.made == made


async def test_g1_7_a_held_run_is_in_nobodys_way(
    db: TimedDatabase, node: DatabaseNode, campaign: int
) -> None:
    await held_by_thaw(db, node)
    db.set_time(at("07:00:00", 3))
    (won,) = await node.claim()
    assert (won.made, won.scheduled_for) == ("executing", db.now)
    await db.check_invariants(campaign)


async def test_g1_8_a_target_is_frozen_alone(db: TimedDatabase, node: DatabaseNode) -> None:
    crm, log = await add_daily(db, target="crm"), await add_daily(db, target="log")
    await freeze(db, "06:59:30", "crm")
    db.set_time(SEVEN)
    assert [won.campaign_id for won in await node.claim()] == [log]
    assert await db.runs_of(crm) == []
    await db.brakes.freeze(None, ANN)
    await db.brakes.thaw("crm", ANN)
    assert await node.claim() == [], "the other freeze goes on"


async def test_g1_10_a_worker_gets_no_run_of_a_frozen_target(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """What it has taken before it may finish."""
    table = LeaseTable(db.database, NodeIdentity(SystemClock(), "node"))
    for _ in range(2):
        db.set_time(NOON)
        _, work = await fire_one_off(db, node)
        await node.finish(work, Queued())
    table.now = db.now
    (taken,) = await table.acquire("log", "worker", 60, 1)
    await db.brakes.freeze("log", ANN)
    assert await table.acquire("log", "worker", 60, 10) == []
    await db.brakes.thaw("log", ANN)
    assert len(await table.acquire("log", "worker", 60, 10)) == 1
    assert taken.number == 1


async def test_g1_11_what_was_claimed_keeps_its_attempt_when_it_is_given_back(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    _, first = await fire_one_off(db, node)
    await node.finish(first, Retry("busy", 5))
    db.advance(seconds(5))
    ((second,), _) = await node.claim_attempts()
    await db.brakes.freeze(None, ANN)
    await node.firing.release([second], ["not_started"], "frozen")
    (run,) = await db.runs_of(first.campaign_id)
    assert (run.status, run.attempt) == ("retrying", 1)
    assert await node.claim_attempts() == ([], [])
    await db.brakes.thaw(None, ANN)
    ((again,), _) = await node.claim_attempts()
    assert again.number == 2


async def test_g1_12_a_freeze_ends_by_itself(
    db: TimedDatabase, node: DatabaseNode, campaign: int
) -> None:
    await freeze(db, "06:59:00", until=at("07:20:00"))
    db.set_time(at("07:19:59"))
    assert await db.brakes.thaw_ended() == []
    db.set_time(at("07:20:00"))
    (ended,) = await db.brakes.thaw_ended()
    assert (ended.scope, ended.overdue) == ("*", Overdue.HOLD)
    (won,) = await node.claim()
    assert won.made == "held"
    (row,) = await db.rows("SELECT actor FROM audit_log WHERE action = 'freeze.ended'")
    assert row.actor == "until"


async def test_what_comes_due_after_the_end_of_a_freeze_is_none_of_it(
    db: TimedDatabase, node: DatabaseNode, campaign: int
) -> None:
    """The nodes were away when its time was over."""
    await freeze(db, "06:30:00", until=at("06:40:00"))
    db.set_time(at("07:05:00"))
    await db.brakes.thaw_ended()
    (won,) = await node.claim()
    assert won.made == "executing"


async def test_g1_14_of_a_stretch_the_newest_is_held(db: TimedDatabase, node: DatabaseNode) -> None:
    """It was skipped that the older ones were coalesced; after the mark it goes on as ever."""
    db.set_time(at("06:00:00") - hours(1))
    campaign_id = await continuous_from(db, at("07:00:00"))
    await freeze(db, "06:59:59")
    db.set_time(at("07:00:00"))
    await node.claim()  # the window opens
    await freeze(db, "07:00:00")
    await thaw(db, "08:00:00")
    won = [one for one in await node.claim() if one.kind == "fire"]
    assert [(one.made, one.scheduled_for) for one in won] == [("held", at("07:55:00"))]
    statuses = await db.run_statuses_of(campaign_id)
    assert statuses == ["skipped"] * 11 + ["held"]
    (on_time,) = await node.claim()
    assert (on_time.made, on_time.scheduled_for) == ("executing", at("08:00:00"))
    await db.check_invariants(campaign_id)


async def continuous_from(db: TimedDatabase, start: datetime, **extras: Any) -> int:
    """Store a segment campaign that runs every 300 s from an instant."""
    db.control._continuous_interval = 300
    return await db.add_started(
        "segment_triggered",
        {
            "startdate": start.isoformat(),
            "enddate": (start + hours(72)).isoformat(),
            "recurring_schedule": "continuously",
            **extras,
        },
    )


async def test_without_coalesce_each_is_held_up_to_a_hundred(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    db.set_time(at("05:00:00"))
    campaign_id = await continuous_from(db, at("06:00:00"), coalesce=False)
    db.set_time(at("06:00:00"))
    await node.claim()
    await freeze(db, "06:00:00")
    await thaw(db, "18:00:00")  # 144 occurrences
    (won,) = await node.claim()
    assert (won.made, won.scheduled_for) == ("held", at("17:55:00"))
    assert await db.run_statuses_of(campaign_id) == ["held"] * 100
    (stretch,) = [each for each in await db.events_of(campaign_id) if each.details]
    assert (stretch.event, stretch.cause, stretch.details["count"]) == (
        "passed",
        "held: due while frozen",
        44,
    )
    assert (await db.read_campaign(campaign_id)).held_runs == 100
    await db.check_invariants(campaign_id)


async def test_what_was_due_before_the_freeze_goes_by_its_own_grace(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """A mark splits a stretch: before it as ever, in it held, after it as ever."""
    db.set_time(at("06:00:00"))
    campaign_id = await db.add_scheduled(
        daily_body(at("07:00:00"), misfire_grace_time=86_400 * 3), kind="recurring"
    )
    db.set_time(at("12:00:00"))
    await db.brakes.freeze(None, ANN)
    db.set_time(at("12:00:00", 3))
    await db.brakes.thaw(None, ANN)
    db.set_time(at("12:00:00", 4))
    (first,) = await node.claim()
    assert (first.made, first.scheduled_for) == ("executing", at("07:00:00"))
    await node.finish(first.attempt)
    (second,) = await node.claim()
    assert (second.made, second.scheduled_for) == ("held", at("07:00:00", 3))
    (third,) = await node.claim()
    assert (third.made, third.scheduled_for) == ("executing", at("07:00:00", 4))
    await db.check_invariants(campaign_id)


async def test_skipped_by_a_thaw_they_are_missed(
    db: TimedDatabase, node: DatabaseNode, campaign: int
) -> None:
    await freeze(db, "06:59:30")
    await thaw(db, "07:05:00", "skip")
    (won,) = await node.claim()
    assert won.made == "missed"
    assert (await db.events_of(campaign))[-1].cause == "missed: due while frozen"


async def test_a_plan_of_others_is_lost_when_the_brakes_change(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """A node that has not heard of a mark would write rows that it does not allow."""
    db.set_time(at("06:00:00"))
    campaign_id = await continuous_from(db, at("06:00:01"))
    db.set_time(at("06:00:01"))
    await node.claim()
    await freeze(db, "06:00:01")
    await thaw(db, "07:00:00")
    (armed,) = await db.due_events(campaign_id)
    node.firing.now = db.now
    assert await node.firing.claim([plan(armed, db.now)]) == ([], [])
    assert [won.made for won in await node.claim()] == ["held"]


async def test_windows_open_and_close_during_a_freeze(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    db.set_time(at("06:00:00"))
    body = {"startdate": at("07:00:00").isoformat(), "enddate": at("08:00:00").isoformat()}
    campaign_id = await db.add_started("live_content", body)
    await db.brakes.freeze(None, ANN)
    for text, status in ("07:00:00", "launched"), ("08:00:00", "completed"):
        db.set_time(at(text))
        assert len(await node.claim()) == 1
        assert await db.status_of(campaign_id) == status


async def test_nothing_begins_by_a_person_either(db: TimedDatabase, node: DatabaseNode) -> None:
    draft = await db.add_draft()
    ended = await db.add_draft()
    await db.control.start(ended, ANN)
    ((work,), _) = await node.claim_attempts()
    await node.fail(work)
    held = (await held_by_other(db, node)).run_id
    await db.brakes.freeze(None, ANN, note="provider incident")
    text = r"frozen since 2026-06-01T13:00:00(\.000000)?Z by cli:ann: provider incident; thaw first"
    for begin in (
        lambda: db.control.start(draft, ANN),
        lambda: db.control.rerun(ended, ANN),
        lambda: db.control.release(held, ANN),
    ):
        with pytest.raises(Conflict, match=text) as refused:
            await begin()
        assert (refused.value.status, refused.value.message) == (409, "Frozen")
    armed = await db.add_draft()
    await db.control.save_schedule(armed, once_body(db.now + hours(1)), ANN)
    await db.control.drop(held, ANN)


async def held_by_other(db: TimedDatabase, node: DatabaseNode) -> Any:
    await db.add_scheduled(once_body(NOON + hours(1)))
    db.set_time(NOON + hours(1))
    (armed,) = await db.due_events()
    node.firing.now = db.now
    request = plan(armed, db.now)._replace(status="held", cause="held: too late")
    await node.firing.claim([request])
    return request


async def test_a_freeze_may_be_repeated_with_another_note(db: TimedDatabase) -> None:
    first = await db.brakes.freeze(None, ANN)
    db.advance(minutes(1))
    same = await db.brakes.freeze(None, "api:bob")
    assert (first.changed, same.changed) == (True, False)
    assert same.brake == first.brake
    until = db.now + hours(1)
    other = await db.brakes.freeze(None, "api:bob", note="why", until=until)
    assert (other.changed, other.brake.note, other.brake.thaw_at) == (False, "why", until)
    assert (other.brake.frozen_at, other.brake.frozen_by) == (first.brake.frozen_at, ANN)
    await db.brakes.thaw(None, ANN)
    with pytest.raises(Conflict, match=r"\* is not frozen") as refused:
        await db.brakes.thaw(None, ANN)
    assert refused.value.message == "Not frozen"


async def test_a_change_is_always_newer_than_the_one_before(db: TimedDatabase) -> None:
    """Else a node would not see it: it compares the newest instant."""
    seen = [(await db.brakes.read()).changed_at]
    for target in (None, "crm", "log"):
        await db.brakes.freeze(target, ANN)
        seen.append((await db.brakes.read()).changed_at)
        await db.brakes.thaw(target, ANN)
        seen.append((await db.brakes.read()).changed_at)
    assert seen[0] is None
    times = [each for each in seen if each is not None]
    assert times == sorted(set(times))
    assert times[-1] - times[0] < timedelta(seconds=1)
