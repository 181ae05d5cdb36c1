"""The short statements leave the same rows as the general ones, whatever the state."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest

from daemon.domain.run.attempt import Attempt, FinishedAttempt
from daemon.domain.run.claim_plan import plan
from daemon.domain.run.outcome import Delivered, Outcome, Reject, Retry
from tests.support.builders import daily_body, once_body
from tests.support.clocks import NOON, hours, seconds
from tests.support.database_node import DatabaseNode
from tests.support.postgres import fresh_database, url_for_application
from tests.support.timed_database import TimedDatabase, open_timed_database

AT = NOON + hours(25)
TABLES = ("campaigns", "timers", "runs", "campaign_events")
"""Everything that claims and outcomes write, as rows without the ids that a sequence draws."""


@asynccontextmanager
async def twins(
    postgres_server: str, template_database: str, seed: int
) -> AsyncIterator[tuple[TimedDatabase, TimedDatabase, random.Random]]:
    """Yield two databases with the same campaigns in random states."""
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        name, url = stack.enter_context(fresh_database(postgres_server, template_database))
        async with open_timed_database(url_for_application(url)) as first:
            await populate(first, chance)
        _, copy = stack.enter_context(fresh_database(postgres_server, name))
        one = await stack.enter_async_context(open_timed_database(url_for_application(url)))
        other = await stack.enter_async_context(open_timed_database(url_for_application(copy)))
        one.set_time(AT)
        other.set_time(AT)
        yield one, other, chance


async def populate(db: TimedDatabase, chance: random.Random) -> None:
    """Store campaigns that are due at `AT`: idle ones, paused, with an open run, with a queue."""
    node = await db.register_node("earlier")
    ids = []
    for _ in range(12):
        at = AT + seconds(chance.choice([0, 0, 0, 1, -1]))
        grace = chance.choice([1, 60])
        target = chance.choice(["log", "other"])
        if chance.random() < 0.4:
            ids.append(
                await db.add_scheduled(once_body(at, misfire_grace_time=grace), target=target)
            )
            continue
        body = daily_body(
            at - hours(24),
            overlap=chance.choice(["skip", "queue", "allow"]),
            coalesce=chance.random() < 0.5,
            misfire_grace_time=grace,
            config=chance.choice([{}, {"end_date": "2026-06-02"}, {"end_date": "2026-06-05"}]),
        )
        ids.append(await db.add_scheduled(body, kind="recurring", target=target))
    db.set_time(AT - hours(24) + seconds(2))
    for won in await node.claim():
        if won.attempt is not None and chance.random() < 0.6:
            await node.finish(won.attempt, chance.choice([Delivered(), Reject("no")]))
    for campaign_id in ids:
        if chance.random() < 0.15:
            await db.control.pause(campaign_id, "tester")


async def written(db: TimedDatabase) -> dict[str, list[Any]]:
    """Return the rows of `TABLES`, in an order that both databases share."""
    found = {}
    for table in TABLES:
        rows = [dict(row._mapping) for row in await db.rows(f"SELECT * FROM {table}")]
        for row in rows:
            if table == "campaign_events":
                del row["id"]
        found[table] = sorted(rows, key=str)
    return found


async def on_both(one: TimedDatabase, other: TimedDatabase) -> tuple[DatabaseNode, DatabaseNode]:
    """Return the node of either database; that of the second uses general statements only."""
    short, general = await one.register_node(), await other.register_node()
    general.only_general = True
    return short, general


@pytest.mark.parametrize("seed", range(12))
async def test_random_states(postgres_server: str, template_database: str, seed: int) -> None:
    """Claims, then outcomes of any kind, in the same batches."""
    async with twins(postgres_server, template_database, seed) as (one, other, chance):
        short, general = await on_both(one, other)
        kinds: list[Outcome] = [Delivered(), Delivered(), Reject("no"), Retry("busy", 5)]
        for _ in range(3):
            attempts = []
            for node in short, general:
                won = await node.claim()
                attempts.append(sorted(each.attempt for each in won if each.attempt is not None))
            assert [key(each) for each in attempts[0]] == [key(each) for each in attempts[1]]
            outcomes = [chance.choice(kinds) for _ in attempts[0]]
            begun = AT + seconds(chance.choice([-1, 0, 1]))
            for node, works in zip((short, general), attempts, strict=True):
                items = zip(works, outcomes, strict=True)
                await node.finish_batch(
                    *(FinishedAttempt(each, outcome, "executing", begun) for each, outcome in items)
                )
            assert await written(one) == await written(other)
            one.advance(hours(24))
            other.advance(hours(24))


def key(attempt: Attempt) -> tuple[Any, ...]:
    return attempt.campaign_id, attempt.scheduled_for, attempt.run_id, attempt.start_before


# --- what is not plain takes the general way --------------------------------------------------


async def test_a_plain_claim_takes_idle_campaigns_only(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """Paused, open, too late, not due, edited: each is left to the general statement."""
    body = daily_body(AT - hours(24), coalesce=False)
    idle, is_open, paused, edited = [
        await db.add_scheduled(body, kind="recurring") for _ in range(4)
    ]
    late = await db.add_scheduled(once_body(AT - seconds(5), misfire_grace_time=1))
    not_due = await db.add_scheduled(once_body(AT + hours(1)))
    db.set_time(AT - hours(24))
    for won in await node.claim():
        if won.campaign_id != is_open:
            await node.finish(won.attempt)
    armed = [
        await db.armed_event_of(each) for each in (idle, is_open, paused, edited, late, not_due)
    ]
    await db.control.pause(paused, "tester")
    await db.control.save_schedule(edited, daily_body(AT), "tester")
    db.set_time(AT)
    node.firing.now = db.now
    requests = [plan(each, each.event.at)._replace(is_plain=True) for each in armed]
    results = await node.firing.claim_plain(requests)
    assert [result.places for result in results] == [[0]]


async def test_a_run_that_exists_already_fails_the_whole_short_claim(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """Nothing of it is claimed; the general statement then claims what can be."""
    first, second = await db.add_scheduled(once_body(AT)), await db.add_scheduled(once_body(AT))
    await db.rows(
        "INSERT INTO runs (campaign_id, scheduled_for, id, status, claimed_at, start_before,"
        " finished_at) VALUES (:id, :at, gen_random_uuid(), 'skipped', :at, :at, :at)",
        id=first,
        at=AT,
    )
    db.set_time(AT)
    node.firing.now = db.now
    requests = [plan(await db.armed_event_of(each), AT) for each in (first, second)]
    with pytest.raises(psycopg.errors.UniqueViolation):
        await node.firing.claim_plain(requests)
    assert await db.status_of(second) == "scheduled"
    assert {won.campaign_id: won.made for won in await node.claim()} == {
        first: None,
        second: "executing",
    }


async def test_payloads_beyond_the_bound_are_left_to_the_general_claim(
    db: TimedDatabase, node: DatabaseNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.claim_rows.CLAIM_BYTES", 100)
    for _ in range(3):
        await db.add_scheduled(once_body(AT), payload={"a": "x" * 60})
    db.set_time(AT)
    node.firing.now = db.now
    requests = [plan(each, AT) for each in await db.due_events()]
    assert await node.firing.claim_plain(requests) == []
    assert await db.rows("SELECT 1 FROM runs") == []


async def test_a_plain_outcome_is_that_of_an_open_first_attempt_alone(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    """A run that another node has, or that ended, is left out; the others are written."""
    other = await db.register_node("other")
    for _ in range(4):
        await db.add_scheduled(once_body(AT))
    db.set_time(AT)
    works = [won.attempt for won in await node.claim()]
    assert len(works) == 4
    await node.release(works[0])
    await db.control.stop(works[1].campaign_id, "tester")
    await other.finish(works[2])  # the outcome of a node that does not have the run
    node.firing.now = db.now
    items = [FinishedAttempt(work, Delivered(), "executing") for work in works]
    results = await node.firing.finish_plain(items)
    assert [result.places for result in results] == [[2, 3]]
    assert await node.firing.finish_plain(items) == [], "they are written already"
