"""Pausing, windows, and schedules that are replaced while an occurrence is due."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from daemon.domain.campaign import commands
from daemon.domain.errors import Refused
from storage.campaigns import Campaigns
from tests.support import situations
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, days, hours, minutes, seconds
from tests.support.database_node import DatabaseNode
from tests.support.timed_database import (
    GRACE,
    TICK,
    TimedDatabase,
    events_named,
    request_text,
    run_uuid,
    store_continuous,
)

AT = NOON + hours(1)


async def ask(db: TimedDatabase, command: str, campaign_id: int) -> None:
    control = db.control
    match command:
        case "save":
            await control.save_schedule(campaign_id, once_body(db.now + days(30)), "tester")
        case "clear":
            await control.clear_schedule(campaign_id, "tester")
        case "update":
            body = {"startdate": request_text(db.now + days(30)), "enddate": None}
            await control.update_schedule(campaign_id, body, "tester")
        case _:
            await getattr(control, command)(campaign_id, "tester")


# --- due and unclaimed --------------------------------------------------------------


@pytest.mark.parametrize("command", ["save", "clear", "update", "stop"])
@pytest.mark.parametrize("late", [seconds(0), minutes(5), GRACE * 2])
async def test_a_due_occurrence_is_never_dropped_silently(
    db: TimedDatabase, node: DatabaseNode, command: str, late: Any
) -> None:
    campaign_id = await db.add_scheduled(daily_body(AT))
    db.set_time(AT + days(2) + late)
    armed = await db.due_events()
    await ask(db, command, campaign_id)
    runs = await db.runs_of(campaign_id)
    uuid = (await db.read_campaign(campaign_id)).uuid
    assert [(run.status, run.scheduled_for, run.id) for run in runs] == [
        ("missed", AT + days(number), run_uuid(uuid, AT + days(number))) for number in range(3)
    ]
    passed = events_named(await db.events_of(campaign_id), "passed")
    assert [(event.run_id, event.actor) for event in passed] == [(run.id, "tester") for run in runs]
    assert {event.cause.partition(":")[0] for event in passed} == {"missed"}
    await db.check_invariants(campaign_id)
    assert await node.claim(armed) == [], "the timer that was replaced wins nothing"
    assert len(await db.runs_of(campaign_id)) == 3


@pytest.mark.parametrize("command", ["clear", "stop"])
async def test_many_due_occurrences_are_one_event(
    db: TimedDatabase, node: DatabaseNode, command: str
) -> None:
    campaign_id = await store_continuous(db, 60, days(2))
    db.set_time(AT + hours(5))
    await ask(db, command, campaign_id)
    (run,) = await db.runs_of(campaign_id)
    assert (run.status, run.scheduled_for) == ("missed", AT + hours(5))
    (event,) = events_named(await db.events_of(campaign_id), "passed")
    assert (event.details["count"], event.run_id) == (301, run.id)


async def test_an_occurrence_that_is_not_due_yet_is_not_missed(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(daily_body(AT))
    db.set_time(AT - TICK)
    await ask(db, "clear", campaign_id)
    assert await db.runs_of(campaign_id) == []


@pytest.mark.parametrize("start", ["given", "absent"])
async def test_a_recurrence_saved_again_keeps_its_phase(
    db: TimedDatabase, node: DatabaseNode, start: str
) -> None:
    """Every other week, saved again with an end after its first run: the next is in two weeks."""
    config = {"frequency": "weekly", "interval": 2, "time": "13:00"}
    config["days_of_week"] = [AT.isoweekday()]
    body = {
        "schedule_type": "recurring",
        "scheduled_at": request_text(AT),
        "recurring_config": config,
    }
    campaign_id = await db.add_scheduled(body)
    db.set_time(AT)
    (won,) = await node.claim()
    await node.finish(won.attempt)
    db.set_time(AT + minutes(1))
    again = {**body, "recurring_config": {**config, "end_date": "2099-12-31"}}
    if start == "absent":
        del again["scheduled_at"]
    result = await db.control.save_schedule(campaign_id, again, "tester")
    assert (result.to_status, result.next_run_at) == ("scheduled", AT + days(14))
    assert result.notes == ()
    other = {**again, "recurring_config": {**config, "interval": 3}}
    other.pop("scheduled_at", None)
    result = await db.control.save_schedule(campaign_id, other, "tester")
    assert (result.next_run_at, len(result.notes)) == (AT + days(7), 1)


async def test_starting_again_misses_unclaimed_occurrences(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(daily_body(AT))
    await db.control.pause(campaign_id, "tester")
    db.set_time(AT + days(1) + minutes(1))
    done = await db.control.start(campaign_id, "tester")
    assert (done.to_status, done.next_run_at) == ("launched", AT + days(2))
    assert await db.run_statuses_of(campaign_id) == ["missed", "missed"]


# --- paused ---------------------------------------------------------------------------------


async def test_occurrences_are_missed_while_paused(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_scheduled(
        daily_body(AT, config={"end_date": (AT + days(2)).date().isoformat()})
    )
    await db.control.pause(campaign_id, "tester")
    for number in range(3):
        db.set_time(AT + days(number))
        (won,) = await node.claim()
        assert (won.made, won.to_status) == ("missed", "paused")
        await db.check_invariants(campaign_id)
    causes = {event.cause for event in events_named(await db.events_of(campaign_id), "passed")}
    assert causes == {"missed: paused"}
    assert await db.timer_of(campaign_id) is None
    with pytest.raises(Refused, match="save a new schedule"):
        await db.control.start(campaign_id, "tester")
    await db.control.save_schedule(campaign_id, once_body(db.now + days(1)), "tester")
    assert (await db.control.start(campaign_id, "tester")).to_status == "scheduled"


async def test_a_stretch_of_occurrences_is_missed_while_paused(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(daily_body(AT, misfire_grace_time=2 * 86400))
    await db.control.pause(campaign_id, "tester")
    db.set_time(AT + days(5))
    await node.claim()
    assert await db.run_statuses_of(campaign_id) == ["missed"] * 6
    causes = [event.cause for event in events_named(await db.events_of(campaign_id), "passed")]
    assert causes == ["missed: paused"] * 6


# --- windows --------------------------------------------------------------------------------


async def test_a_run_at_the_very_end_comes_before_the_close(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    await db.add_started(
        "segment_triggered", {"startdate": request_text(AT), "enddate": request_text(AT + days(1))}
    )
    db.set_time(AT)
    opening, first = await node.claim_all()
    assert (opening.kind, first.scheduled_for) == ("open", AT)
    await node.finish(first.attempt)
    db.set_time(AT + days(1))
    last, close = await node.claim_all()
    assert (last.made, last.scheduled_for, last.to_status) == ("executing", db.now, "executing")
    assert (close.kind, close.from_status, close.to_status) == ("close", "executing", "executing")
    (written,) = await node.fail(last.attempt)
    assert written.to_status == "completed", "another run of it had completed"


async def test_a_window_opens_however_late(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await db.add_started("event_triggered", {"startdate": request_text(AT)})
    db.set_time(AT + days(30))
    (won,) = await node.claim_all()
    assert (won.kind, won.to_status) == ("open", "launched")
    assert await db.timer_of(campaign_id) is None
    assert (await db.read_campaign(campaign_id)).more_to_come, "it has no end"


async def test_a_window_without_live_nodes_ends_in_the_right_status(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    idle = await db.add_started(
        "live_content", {"startdate": request_text(AT), "enddate": request_text(AT + days(2))}
    )
    timed = await db.add_started(
        "segment_triggered", {"startdate": request_text(AT), "enddate": request_text(AT + days(2))}
    )
    db.set_time(AT + days(9))
    won = await node.claim_all()
    assert [item.kind for item in won if item.campaign_id == idle] == ["open", "close"]
    assert await db.status_of(idle) == "completed"
    assert await db.status_of(timed) == "failed"
    assert await db.run_statuses_of(timed) == ["missed"] * 3


async def test_a_window_whose_end_moves_into_the_past_closes(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_started("event_triggered", {"startdate": request_text(AT)})
    for paused in (False, True):
        db.set_time(AT + hours(1))
        await node.claim_all()
        if paused:
            await db.control.pause(campaign_id, "tester")
        body = {"startdate": request_text(AT), "enddate": request_text(db.now - minutes(1))}
        done = await db.control.update_schedule(campaign_id, body, "tester")
        assert done.to_status == ("paused" if paused else "launched")
        await db.check_invariants(campaign_id)
        (close,) = await node.claim_all()
        assert (close.kind, close.to_status) == ("close", "completed")
        await db.check_invariants(campaign_id)
        db.set_time(NOON)
        campaign_id = await db.add_started("event_triggered", {"startdate": request_text(AT)})


async def test_a_one_off_that_is_due_keeps_its_run_when_its_start_is_kept(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """An edit of another field arrives between the due instant and the claim."""
    campaign_id = await db.add_scheduled(once_body(AT))
    db.set_time(AT + seconds(1))
    body = {"startdate": request_text(AT), "misfire_grace_time": 60}
    done = await db.control.update_schedule(campaign_id, body, "tester")
    assert (done.to_status, done.next_run_at) == ("scheduled", AT)
    await db.check_invariants(campaign_id)
    (won,) = await node.claim()
    assert (won.made, won.scheduled_for) == ("executing", AT)
    assert await db.run_statuses_of(campaign_id) == ["executing"]


# --- final ----------------------------------------------------------------------------------


async def test_one_completed_run_is_enough(db: TimedDatabase, node: DatabaseNode) -> None:
    for outcomes, final in (((True, False), "completed"), ((False, False), "failed")):
        db.set_time(NOON)
        campaign_id = await situations.executing_daily_before_last(db, node)
        await situations.end_run(db, node, campaign_id, completed=outcomes[0])
        db.advance(days(1))
        await situations.claim(db, node, campaign_id)
        await situations.end_run(db, node, campaign_id, completed=outcomes[1])
        assert await db.status_of(campaign_id) == final


async def test_only_runs_of_this_schedule_decide(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await situations.completed(db, node)
    await db.control.save_schedule(campaign_id, once_body(db.now + hours(1)), "tester")
    db.advance(hours(1))
    await node.claim()
    await situations.end_run(db, node, campaign_id, completed=False)
    assert await db.status_of(campaign_id) == "failed"


async def test_a_rerun_ends_where_its_schedule_had_ended(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    for name, completed, final in (
        ("completed", False, "completed"),
        ("failed", True, "completed"),
        ("failed", False, "failed"),
        ("cancelled", True, "completed"),
    ):
        db.set_time(NOON)
        campaign_id = await getattr(situations, name)(db, node)
        db.advance(seconds(1))
        await db.control.rerun(campaign_id, "tester")
        await situations.begin_run(db, node, campaign_id)
        await situations.end_run(db, node, campaign_id, completed=completed)
        assert await db.status_of(campaign_id) == final
        await db.check_invariants(campaign_id)


# --- another zone ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "following"),
    [
        ("Pacific/Kiritimati", "Pacific/Pago_Pago", 13),
        ("Pacific/Pago_Pago", "Pacific/Kiritimati", 14),  # there, the 13th is over already
        ("Europe/Berlin", "America/New_York", 13),
        ("America/New_York", "Europe/Berlin", 13),
    ],
)
@pytest.mark.parametrize("runs", [1, 3])
async def test_a_change_of_zone_repeats_no_local_date(
    db: TimedDatabase, node: DatabaseNode, before: str, after: str, following: int, runs: int
) -> None:
    """It holds for a last occurrence that ran, and for one that is due and unclaimed."""
    for ran in (True, False):
        db.set_time(NOON)
        start = f"2026-06-{13 - runs}T09:30"
        campaign_id = await db.add_draft("recurring")
        body = {"startdate": start, "timezone": before}
        await db.control.update_schedule(campaign_id, body, "tester")
        await db.control.start(campaign_id, "tester")
        dates = await fire(db, node, campaign_id, before, runs - 1)
        if ran:
            dates += await fire(db, node, campaign_id, before, 1)
        else:
            db.set_time((await db.timer_of(campaign_id)).fire_at)
            dates.append(12)
        await db.control.pause(campaign_id, "tester")
        body = {"startdate": start, "timezone": after}
        await db.control.update_schedule(campaign_id, body, "tester")
        await db.control.update_schedule(campaign_id, body, "tester")
        await db.control.start(campaign_id, "tester")
        dates += await fire(db, node, campaign_id, after, 3)
        assert dates == [*range(13 - runs, 13), *range(following, following + 3)]


async def fire(
    db: TimedDatabase, node: DatabaseNode, campaign_id: int, zone: str, times: int
) -> list[int]:
    """Return the days of June with a run."""
    dates: list[int] = []
    for _ in range(times):
        timer = await db.timer_of(campaign_id)
        db.set_time(max(db.now, timer.fire_at))
        (won,) = await node.claim(await db.due_events(campaign_id))
        local = won.scheduled_for.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert (local, f"{local:%H:%M}") == (timer.local, "09:30")
        dates.append(local.day)
        await node.finish(won.attempt)
    return dates


async def test_a_requested_run_at_a_taken_instant_comes_a_microsecond_later(
    db: TimedDatabase,
) -> None:
    """After a clock was set back, the run is inserted, and the first run stays unchanged."""
    later = request_text(NOON + timedelta(hours=1))
    campaign = await db.add_scheduled({"schedule_type": "scheduled", "scheduled_at": later})
    await db.rows(
        "UPDATE campaigns SET status = 'completed', more_to_come = false, has_due = true,"
        " has_completed = true WHERE id = :id",
        id=campaign,
    )
    await db.rows("DELETE FROM timers")
    await db.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, claimed_at, started_at,"
        " finished_at, start_before) VALUES (:id, :at, gen_random_uuid(), 'completed', 1, :at, :at,"
        " :at, :at)",
        id=campaign,
        at=NOON,
    )
    async with Campaigns(db.database).edit(campaign, NOON) as edit:
        await edit.apply(commands.rerun(edit.snapshot, 60), "test")
    rows = await db.rows("SELECT scheduled_for, status FROM runs ORDER BY scheduled_for")
    assert [tuple(row) for row in rows] == [
        (NOON, "completed"),
        (NOON + timedelta(microseconds=1), "queued"),
    ]
