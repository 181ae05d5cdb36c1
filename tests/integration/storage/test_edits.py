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
from tests.support.database_world import (
    GRACE,
    NOON,
    TICK,
    Node,
    World,
    continuous,
    daily,
    days,
    events_named,
    hours,
    iso,
    minutes,
    once,
    run_uuid,
    seconds,
)

AT = NOON + hours(1)


async def ask(world: World, command: str, campaign_id: int) -> None:
    control = world.control
    match command:
        case "save":
            await control.save_schedule(campaign_id, once(world.now + days(30)), "tester")
        case "clear":
            await control.clear_schedule(campaign_id, "tester")
        case "update":
            body = {"startdate": iso(world.now + days(30)), "enddate": None}
            await control.update_schedule(campaign_id, body, "tester")
        case _:
            await getattr(control, command)(campaign_id, "tester")


# --- due and unclaimed --------------------------------------------------------------


@pytest.mark.parametrize("command", ["save", "clear", "update", "stop"])
@pytest.mark.parametrize("late", [seconds(0), minutes(5), GRACE * 2])
async def test_a_due_occurrence_is_never_dropped_silently(
    world: World, node: Node, command: str, late: Any
) -> None:
    campaign_id = await world.saved(daily(AT))
    world.set(AT + days(2) + late)
    armed = await world.due()
    await ask(world, command, campaign_id)
    runs = await world.runs(campaign_id)
    uuid = (await world.campaign(campaign_id)).uuid
    assert [(run.status, run.scheduled_for, run.id) for run in runs] == [
        ("missed", AT + days(number), run_uuid(uuid, AT + days(number))) for number in range(3)
    ]
    passed = events_named(await world.events(campaign_id), "passed")
    assert [(event.run_id, event.actor) for event in passed] == [(run.id, "tester") for run in runs]
    assert {event.cause.partition(":")[0] for event in passed} == {"missed"}
    await world.check(campaign_id)
    assert await node.claim(armed) == [], "the timer that was replaced wins nothing"
    assert len(await world.runs(campaign_id)) == 3


@pytest.mark.parametrize("command", ["clear", "stop"])
async def test_many_due_occurrences_are_one_event(world: World, node: Node, command: str) -> None:
    campaign_id = await continuous(world, 60, days(2))
    world.set(AT + hours(5))
    await ask(world, command, campaign_id)
    (run,) = await world.runs(campaign_id)
    assert (run.status, run.scheduled_for) == ("missed", AT + hours(5))
    (event,) = events_named(await world.events(campaign_id), "passed")
    assert (event.details["count"], event.run_id) == (301, run.id)


async def test_an_occurrence_that_is_not_due_yet_is_not_missed(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(AT))
    world.set(AT - TICK)
    await ask(world, "clear", campaign_id)
    assert await world.runs(campaign_id) == []


async def test_starting_again_misses_unclaimed_occurrences(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(AT))
    await world.control.pause(campaign_id, "tester")
    world.set(AT + days(1) + minutes(1))
    done = await world.control.start(campaign_id, "tester")
    assert (done.to_status, done.next_run_at) == ("launched", AT + days(2))
    assert await world.run_statuses(campaign_id) == ["missed", "missed"]


# --- paused ---------------------------------------------------------------------------------


async def test_occurrences_are_missed_while_paused(world: World, node: Node) -> None:
    campaign_id = await world.saved(
        daily(AT, config={"end_date": (AT + days(2)).date().isoformat()})
    )
    await world.control.pause(campaign_id, "tester")
    for number in range(3):
        world.set(AT + days(number))
        (won,) = await node.claim()
        assert (won.made, won.to_status) == ("missed", "paused")
        await world.check(campaign_id)
    causes = {event.cause for event in events_named(await world.events(campaign_id), "passed")}
    assert causes == {"missed: paused"}
    assert await world.timer(campaign_id) is None
    with pytest.raises(Refused, match="save a new schedule"):
        await world.control.start(campaign_id, "tester")
    await world.control.save_schedule(campaign_id, once(world.now + days(1)), "tester")
    assert (await world.control.start(campaign_id, "tester")).to_status == "scheduled"


async def test_a_stretch_of_occurrences_is_missed_while_paused(world: World, node: Node) -> None:
    campaign_id = await world.saved(daily(AT, misfire_grace_time=2 * 86400))
    await world.control.pause(campaign_id, "tester")
    world.set(AT + days(5))
    await node.claim()
    assert await world.run_statuses(campaign_id) == ["missed"] * 6
    causes = [event.cause for event in events_named(await world.events(campaign_id), "passed")]
    assert causes == ["missed: paused"] * 6


# --- windows --------------------------------------------------------------------------------


async def test_a_run_at_the_very_end_comes_before_the_close(world: World, node: Node) -> None:
    await world.started("segment_triggered", {"startdate": iso(AT), "enddate": iso(AT + days(1))})
    world.set(AT)
    opening, first = await node.claim_all()
    assert (opening.kind, first.scheduled_for) == ("open", AT)
    await node.finish(first.attempt)
    world.set(AT + days(1))
    last, close = await node.claim_all()
    assert (last.made, last.scheduled_for, last.to_status) == ("executing", world.now, "executing")
    assert (close.kind, close.from_status, close.to_status) == ("close", "executing", "executing")
    (written,) = await node.fail(last.attempt)
    assert written.to_status == "completed", "another run of it had completed"


async def test_a_window_opens_however_late(world: World, node: Node) -> None:
    campaign_id = await world.started("event_triggered", {"startdate": iso(AT)})
    world.set(AT + days(30))
    (won,) = await node.claim_all()
    assert (won.kind, won.to_status) == ("open", "launched")
    assert await world.timer(campaign_id) is None
    assert (await world.campaign(campaign_id)).more_to_come, "it has no end"


async def test_a_window_without_live_nodes_ends_in_the_right_status(
    world: World, node: Node
) -> None:
    idle = await world.started("live_content", {"startdate": iso(AT), "enddate": iso(AT + days(2))})
    timed = await world.started(
        "segment_triggered", {"startdate": iso(AT), "enddate": iso(AT + days(2))}
    )
    world.set(AT + days(9))
    won = await node.claim_all()
    assert [item.kind for item in won if item.campaign_id == idle] == ["open", "close"]
    assert await world.status(idle) == "completed"
    assert await world.status(timed) == "failed"
    assert await world.run_statuses(timed) == ["missed"] * 3


async def test_a_window_whose_end_moves_into_the_past_closes(world: World, node: Node) -> None:
    campaign_id = await world.started("event_triggered", {"startdate": iso(AT)})
    for paused in (False, True):
        world.set(AT + hours(1))
        await node.claim_all()
        if paused:
            await world.control.pause(campaign_id, "tester")
        body = {"startdate": iso(AT), "enddate": iso(world.now - minutes(1))}
        done = await world.control.update_schedule(campaign_id, body, "tester")
        assert done.to_status == ("paused" if paused else "launched")
        await world.check(campaign_id)
        (close,) = await node.claim_all()
        assert (close.kind, close.to_status) == ("close", "completed")
        await world.check(campaign_id)
        world.set(NOON)
        campaign_id = await world.started("event_triggered", {"startdate": iso(AT)})


async def test_a_one_off_that_is_due_keeps_its_run_when_its_start_is_kept(
    world: World, node: Node
) -> None:
    """An edit of another field arrives between the due instant and the claim."""
    campaign_id = await world.saved(once(AT))
    world.set(AT + seconds(1))
    body = {"startdate": iso(AT), "misfire_grace_time": 60}
    done = await world.control.update_schedule(campaign_id, body, "tester")
    assert (done.to_status, done.next_run_at) == ("scheduled", AT)
    await world.check(campaign_id)
    (won,) = await node.claim()
    assert (won.made, won.scheduled_for) == ("executing", AT)
    assert await world.run_statuses(campaign_id) == ["executing"]


# --- final ----------------------------------------------------------------------------------


async def test_one_completed_run_is_enough(world: World, node: Node) -> None:
    for outcomes, final in (((True, False), "completed"), ((False, False), "failed")):
        world.set(NOON)
        campaign_id = await situations.executing_daily_before_last(world, node)
        await situations.ends(world, node, campaign_id, completed=outcomes[0])
        world.after(days(1))
        await situations.claim(world, node, campaign_id)
        await situations.ends(world, node, campaign_id, completed=outcomes[1])
        assert await world.status(campaign_id) == final


async def test_only_runs_of_this_schedule_decide(world: World, node: Node) -> None:
    campaign_id = await situations.completed(world, node)
    await world.control.save_schedule(campaign_id, once(world.now + hours(1)), "tester")
    world.after(hours(1))
    await node.claim()
    await situations.ends(world, node, campaign_id, completed=False)
    assert await world.status(campaign_id) == "failed"


async def test_a_rerun_ends_where_its_schedule_had_ended(world: World, node: Node) -> None:
    for name, completed, final in (
        ("completed", False, "completed"),
        ("failed", True, "completed"),
        ("failed", False, "failed"),
        ("cancelled", True, "completed"),
    ):
        world.set(NOON)
        campaign_id = await getattr(situations, name)(world, node)
        world.after(seconds(1))
        await world.control.rerun(campaign_id, "tester")
        await situations.begin_run(world, node, campaign_id)
        await situations.ends(world, node, campaign_id, completed=completed)
        assert await world.status(campaign_id) == final
        await world.check(campaign_id)


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
    world: World, node: Node, before: str, after: str, following: int, runs: int
) -> None:
    """It holds for a last occurrence that ran, and for one that is due and unclaimed."""
    for ran in (True, False):
        world.set(NOON)
        start = f"2026-06-{13 - runs}T09:30"
        campaign_id = await world.create("recurring")
        body = {"startdate": start, "timezone": before}
        await world.control.update_schedule(campaign_id, body, "tester")
        await world.control.start(campaign_id, "tester")
        dates = await fire(world, node, campaign_id, before, runs - 1)
        if ran:
            dates += await fire(world, node, campaign_id, before, 1)
        else:
            world.set((await world.timer(campaign_id)).fire_at)
            dates.append(12)
        await world.control.pause(campaign_id, "tester")
        body = {"startdate": start, "timezone": after}
        await world.control.update_schedule(campaign_id, body, "tester")
        await world.control.update_schedule(campaign_id, body, "tester")
        await world.control.start(campaign_id, "tester")
        dates += await fire(world, node, campaign_id, after, 3)
        assert dates == [*range(13 - runs, 13), *range(following, following + 3)]


async def fire(world: World, node: Node, campaign_id: int, zone: str, times: int) -> list[int]:
    """Return the days of June with a run."""
    dates: list[int] = []
    for _ in range(times):
        timer = await world.timer(campaign_id)
        world.set(max(world.now, timer.fire_at))
        (won,) = await node.claim(await world.due(campaign_id))
        local = won.scheduled_for.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert (local, f"{local:%H:%M}") == (timer.local, "09:30")
        dates.append(local.day)
        await node.finish(won.attempt)
    return dates


async def test_a_requested_run_at_a_taken_instant_comes_a_microsecond_later(
    world: World,
) -> None:
    """After a clock was set back, the run is inserted, and the first run stays unchanged."""
    later = iso(NOON + timedelta(hours=1))
    campaign = await world.saved({"schedule_type": "scheduled", "scheduled_at": later})
    await world.rows(
        "UPDATE campaigns SET status = 'completed', more_to_come = false, has_due = true,"
        " has_completed = true WHERE id = :id",
        id=campaign,
    )
    await world.rows("DELETE FROM timers")
    await world.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, attempt, claimed_at, started_at,"
        " finished_at, start_before) VALUES (:id, :at, gen_random_uuid(), 'completed', 1, :at, :at,"
        " :at, :at)",
        id=campaign,
        at=NOON,
    )
    async with Campaigns(world.database).edit(campaign, NOON) as edit:
        await edit.apply(commands.rerun(edit.snapshot, 60), "test")
    rows = await world.rows("SELECT scheduled_for, status FROM runs ORDER BY scheduled_for")
    assert [tuple(row) for row in rows] == [
        (NOON, "completed"),
        (NOON + timedelta(microseconds=1), "queued"),
    ]
