"""docs/semantics.md#lifecycle on the real database: every command and timed event in every status.

`tests.support.lifecycle` holds the expectations of the specification, independent of the code. The
code's own table (`daemon.domain.campaign.state_machine.TABLE`) is compared with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from daemon.domain.campaign.state_machine import Event, Facts, Status, transition
from daemon.domain.errors import CampaigndError, InvalidInput, Refused
from daemon.domain.requests import BodyContext, read_schedule_body
from daemon.domain.run.attempt import ArmedEvent
from daemon.domain.schedule.schedule import CampaignType, EventKind, TimedEvent
from storage.engine import Database
from tests.support import situations
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, days, hours, seconds
from tests.support.database_node import DatabaseNode
from tests.support.lifecycle import EXPECTED, TIMED
from tests.support.postgres import fresh_database
from tests.support.timed_database import TICK, TimedDatabase, open_timed_database

COMMANDS = {
    "save scheduled": Event.SCHEDULE_SAVED,
    "save recurring": Event.SCHEDULE_SAVED,
    "save immediate": Event.SCHEDULE_CLEARED,
    "clear": Event.SCHEDULE_CLEARED,
    "update": Event.SCHEDULE_UPDATED,
    "start": Event.START,
    "pause": Event.PAUSE,
    "stop": Event.STOP,
    "rerun": Event.RERUN,
    "archive": Event.ARCHIVE,
    "unarchive": Event.UNARCHIVE,
    "delete": Event.DELETE,
    "run_now": Event.RUN_NOW,
}

# For the comparison with the code's table: no event is to come; the first occurrence is over.
OVER = {"draft", "draft_window", "draft_over", "draft_window_over", "paused_over"}
NOT_BEGUN = {"draft_ahead", "paused_ahead", "paused_window_ahead"}


def expected_of(situation: str, command: str) -> str | None:
    group = {"save scheduled": "save", "save recurring": "save", "save immediate": "clear"}
    return EXPECTED[situation].get(group.get(command, command))


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(postgres_server: str, template_database: str) -> AsyncIterator[Database]:
    """One database for all tests: every test has a campaign of its own."""
    with fresh_database(postgres_server, template_database) as (_, url):
        async with open_timed_database(url) as db:
            yield db.database


@pytest.fixture
def db(database: Database) -> TimedDatabase:
    return TimedDatabase(database)


@pytest_asyncio.fixture(loop_scope="module")
async def node(db: TimedDatabase) -> DatabaseNode:
    return await db.register_node(f"node-{uuid4().hex[:8]}")


async def reached(name: str, db: TimedDatabase, node: DatabaseNode) -> int:
    campaign_id: int = await getattr(situations, name)(db, node)
    assert await db.status_of(campaign_id) == name.split("_", 1)[0]
    await db.check_invariants(campaign_id)
    return campaign_id


async def ask(db: TimedDatabase, command: str, campaign_id: int) -> Any:
    control, actor = db.control, "a person"
    ahead = db.now + hours(2)
    match command:
        case "save scheduled":
            return await control.save_schedule(campaign_id, once_body(ahead), actor)
        case "save recurring":
            return await control.save_schedule(campaign_id, daily_body(ahead), actor)
        case "save immediate":
            body = {"schedule_type": "immediate"}
            return await control.save_schedule(campaign_id, body, actor)
        case "clear":
            return await control.clear_schedule(campaign_id, actor)
        case "update":
            body = {"startdate": ahead.isoformat(), "enddate": None}
            return await control.update_schedule(campaign_id, body, actor)
        case "delete":
            return await control.delete_campaign(campaign_id, actor)
        case _:
            db.advance(seconds(1))
            return await getattr(control, command)(campaign_id, actor)


async def test_every_status_is_walked() -> None:
    assert {name.split("_", 1)[0] for name in EXPECTED} == {str(status) for status in Status}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("situation", EXPECTED)
async def test_command(db: TimedDatabase, node: DatabaseNode, situation: str, command: str) -> None:
    campaign_id = await reached(situation, db, node)
    expected = expected_of(situation, command)
    await compare_with_table(db, campaign_id, situation, command, expected)
    before = await db.dump_rows(campaign_id)
    campaign, timer = await db.read_campaign(campaign_id), await db.timer_of(campaign_id)
    definition = await db.definition_of(campaign_id)
    events = {event.id for event in await db.events_of(campaign_id)}

    if expected is None:
        with pytest.raises(CampaigndError) as refusal:
            await ask(db, command, campaign_id)
        assert isinstance(refusal.value, Refused | InvalidInput)
        assert refusal.value.status == (422 if command == "update" else 400)
        assert await db.dump_rows(campaign_id) == before
        return
    done = await ask(db, command, campaign_id)
    if expected == "as it is":
        assert (done.changed, done.to_status) == (False, campaign.status)
        assert await db.dump_rows(campaign_id) == before
        return
    if expected == "gone":
        after = await db.dump_rows(campaign_id)
        kept = ("count", "audit_log")  # what was done outlives the campaign
        assert not any(rows for name, rows in after.items() if name not in kept)
        return

    status, _, kind = expected.partition("/")
    assert (done.changed, done.from_status, done.to_status) == (True, campaign.status, status)
    assert await db.status_of(campaign_id) == status
    await db.check_invariants(campaign_id)
    new = [event for event in await db.events_of(campaign_id) if event.id not in events]
    of_runs = [event for event in new if event.event == "run_ended"]
    (event,) = [event for event in new if event not in of_runs]
    assert (event.event, event.from_status, event.to_status, event.actor, event.at) == (
        COMMANDS[command],
        campaign.status,
        status,
        "a person",
        db.now,
    )
    assert len(of_runs) == (campaign.open_runs if command == "stop" else 0)

    now_timer, now_definition = await db.timer_of(campaign_id), await db.definition_of(campaign_id)
    assert (now_timer.kind if now_timer else "") == kind
    if command in ("pause", "rerun", "run_now", "archive", "unarchive"):
        assert (now_timer, now_definition) == (timer, definition)
    elif command in ("save scheduled", "save recurring", "update"):
        assert now_definition.anchor_at == db.now + hours(2)
        assert definition is None or now_definition.revision > definition.revision
        if kind:
            assert now_timer.fire_at == db.now + hours(2)
    elif command in ("save immediate", "clear"):
        assert now_definition is None
    else:
        assert (now_definition and now_definition.body) == (definition and definition.body)
    changed = [run for run in await db.runs_of(campaign_id) if run.cause != "schedule"]
    if (
        command in ("rerun", "run_now", "start")
        and status == "executing"
        and campaign.open_runs == 0
    ):
        assert (changed[-1].status, changed[-1].scheduled_for) == ("queued", db.now)
        assert done.next_run_at == db.now
        assert event.run_id == changed[-1].id
    if command == "stop":
        assert "cancelled" in await db.run_statuses_of(campaign_id) or not campaign.open_runs


async def compare_with_table(
    db: TimedDatabase, campaign_id: int, situation: str, command: str, expected: str | None
) -> None:
    campaign = await db.read_campaign(campaign_id)
    if campaign.type.is_window and command.startswith("save") and command != "save immediate":
        return  # refused for its type, whatever the status
    if command == "run_now" and campaign.open_runs:
        return  # decided by the schedule's overlap
    facts = Facts(
        type=campaign.type,
        has_schedule=await db.definition_of(campaign_id) is not None,
        more_to_come=situation not in OVER,
        begun=situation not in NOT_BEGUN,
        open_runs=campaign.open_runs,
        has_due=campaign.has_due,
        has_completed=campaign.has_completed,
        archived_from=campaign.archived_from,
    )
    goal = transition(campaign.status, COMMANDS[command], facts)
    if expected is None:
        assert goal is None
    elif expected in ("as it is", "gone"):
        assert goal is campaign.status
    else:
        assert goal == expected.partition("/")[0]


@pytest.mark.parametrize(("situation", "what", "expected", "event_name", "run_status"), TIMED)
async def test_timed_event(
    db: TimedDatabase,
    node: DatabaseNode,
    situation: str,
    what: str,
    expected: str,
    event_name: str,
    run_status: str | None,
) -> None:
    campaign_id = await reached(situation, db, node)
    status, _, kind = expected.partition("/")
    timer = await db.timer_of(campaign_id)
    if what in ("fire", "miss", "close"):
        at: datetime = timer.fire_at
        db.set_time(at if what == "fire" else at + hours(1) + TICK)
        if what == "close":
            # The runs up to the end are missed, each by a separate claim.
            db.set_time((await db.definition_of(campaign_id)).ends_at + hours(1) + TICK)
            while (await db.timer_of(campaign_id)).kind == "fire":
                await situations.claim(db, node, campaign_id)
            at = (await db.timer_of(campaign_id)).fire_at
    before = await db.read_campaign(campaign_id)
    events = {event.id for event in await db.events_of(campaign_id)}
    if what in ("end", "fail"):
        work = (await db.executing_attempts(campaign_id))[0]
        at = work.scheduled_for
        (written,) = await (node.finish(work) if what == "end" else node.fail(work))
        assert (written.from_status, written.to_status) == (before.status, status)
    else:
        (won,) = await node.claim(await db.due_events(campaign_id))
        assert (won.from_status, won.to_status) == (before.status, status)

    assert await db.status_of(campaign_id) == status
    await db.check_invariants(campaign_id)
    (event,) = [event for event in await db.events_of(campaign_id) if event.id not in events]
    assert (event.event, event.from_status, event.to_status, event.actor, event.scheduled_for) == (
        event_name,
        before.status,
        status,
        node.name,
        at,
    )
    now_timer = await db.timer_of(campaign_id)
    assert (now_timer.kind if now_timer else "") == kind
    made = {run.scheduled_for: run for run in await db.runs_of(campaign_id)}
    if run_status is None:
        assert event.run_id is None
    else:
        assert made[at].status == run_status
        assert made[at].id == event.run_id

    campaign = await db.read_campaign(campaign_id)
    facts = Facts(
        type=campaign.type,
        has_schedule=True,
        more_to_come=campaign.more_to_come,
        open_runs=campaign.open_runs,
        has_due=campaign.has_due,
        has_completed=campaign.has_completed,
    )
    assert transition(before.status, Event(event_name), facts) == status


async def test_a_window_opens_beside_an_open_run(db: TimedDatabase, node: DatabaseNode) -> None:
    campaign_id = await reached("paused_segment_busy", db, node)
    await ask(db, "update", campaign_id)
    await ask(db, "start", campaign_id)
    assert await db.status_of(campaign_id) == "executing"
    db.advance(hours(2))
    (won,) = await node.claim(await db.due_events(campaign_id))
    assert (won.kind, won.from_status, won.to_status) == ("open", "executing", "executing")
    await db.check_invariants(campaign_id)


@pytest.mark.parametrize("kind", EventKind)
@pytest.mark.parametrize(
    "situation",
    [
        name
        for name in EXPECTED
        if name.split("_", 1)[0] in ("draft", "completed", "failed", "cancelled", "archived")
    ],
)
async def test_nothing_timed_happens_to_a_campaign_that_is_not_armed(
    db: TimedDatabase, node: DatabaseNode, situation: str, kind: EventKind
) -> None:
    """This holds even when a timer is left by mistake."""
    campaign_id = await reached(situation, db, node)
    await db.rows(
        "INSERT INTO timers (campaign_id, revision, fire_at, local, kind)"
        " VALUES (:id, 77, :at, :local, :kind)",
        id=campaign_id,
        at=db.now,
        local=db.now.replace(tzinfo=None),
        kind=kind.value,
    )
    schedule = read_schedule_body(
        once_body(db.now), BodyContext(NOON - days(1), CampaignType.ONE_TIME)
    ).schedule
    campaign = await db.read_campaign(campaign_id)
    event = TimedEvent(kind, db.now, db.now.replace(tzinfo=None))
    before = await db.dump_rows(campaign_id)
    assert (
        await node.claim(
            [ArmedEvent(campaign_id, campaign.uuid, 77, event, schedule, "log", event.at)]
        )
        == []
    )
    assert await db.due_events(campaign_id) == []
    assert await db.due_pending_runs(campaign_id) == []
    for run in await db.runs_of(campaign_id):
        assert run.status not in ("queued", "executing", "retrying", "held")
    assert await db.dump_rows(campaign_id) == before
