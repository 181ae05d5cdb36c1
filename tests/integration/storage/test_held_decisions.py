"""An operator's decisions on held runs: one, or all that are selected."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from daemon.domain.errors import Conflict, NotFound
from daemon.domain.run.held import (
    ConfirmationRequired,
    HeldReason,
    HeldSelector,
    ManyDecided,
)
from daemon.domain.run.outcome import Held
from storage import held_runs
from tests.integration.storage.test_held_occurrences import AT, hold
from tests.support.builders import daily_body, once_body
from tests.support.clocks import hours, minutes, seconds
from tests.support.database_node import DatabaseNode
from tests.support.fired import fire_one_off
from tests.support.timed_database import TimedDatabase

ANN = "cli:ann"
ALL = (
    HeldSelector()
    ._replace(
        **dict.fromkeys(HeldSelector._fields, None)  # the defaults are declarations, not values
    )
    ._replace(all_=True)
)


def where(**conditions: Any) -> HeldSelector:
    return ALL._replace(all_=False, **conditions)


async def held_one(
    db: TimedDatabase, node: DatabaseNode, cause: str = "held: too late", **fields: Any
) -> UUID:
    """Return the held run of a new daily campaign."""
    db.set_time(AT - hours(1))
    campaign_id = await db.add_scheduled(daily_body(AT), kind="recurring", **fields)
    db.set_time(AT)
    won = await hold(db, node, campaign_id, cause=cause)
    return won.run_id


async def run_of(db: TimedDatabase, run_id: UUID) -> Any:
    (row,) = await db.rows("SELECT * FROM runs WHERE id = :id", id=run_id)
    return row


async def test_a_released_run_starts_with_its_grace_anew(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    run_id = await held_one(db, node)
    db.advance(hours(5))
    update = await db.control.release(run_id, ANN, "checked")
    assert (update.status, update.next_attempt_at) == ("retrying", db.now)
    run = await run_of(db, run_id)
    assert (run.start_before, run.error) == (db.now + hours(1), None)
    event = (await db.events_of(run.campaign_id))[-1]
    assert (event.event, event.cause, event.actor, event.details) == (
        "run_retrying",
        "released",
        ANN,
        {"note": "checked"},
    )
    await db.check_invariants(run.campaign_id)
    ((work,), _) = await node.claim_attempts()
    assert (work.number, work.run_id) == (1, run_id)
    await node.finish(work)
    assert await db.status_of(run.campaign_id) == "launched"
    await db.check_invariants(run.campaign_id)


async def test_a_released_run_that_waits_too_long_is_missed(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    run_id = await held_one(db, node)
    await db.control.release(run_id, ANN)
    db.advance(hours(1) + seconds(1))
    _, (late,) = await node.claim_attempts()
    assert late.attempt.run_id == run_id
    assert (await run_of(db, run_id)).status == "missed"


async def test_a_dropped_run_is_missed_and_its_campaign_goes_on(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    run_id = await held_one(db, node)
    update = await db.control.drop(run_id, ANN)
    assert update.status == "missed"
    run = await run_of(db, run_id)
    event = (await db.events_of(run.campaign_id))[-1]
    assert (event.event, event.cause) == ("run_ended", "missed: dropped by cli:ann")
    assert (event.from_status, event.to_status) == ("executing", "launched")
    await db.check_invariants(run.campaign_id)


async def test_a_one_off_that_is_dropped_was_due_and_did_not_complete(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    campaign_id = await db.add_scheduled(once_body(AT))
    db.set_time(AT)
    won = await hold(db, node, campaign_id)
    await db.control.drop(won.run_id, ANN)
    assert await db.status_of(campaign_id) == "failed"


async def test_a_paused_campaign_stays_so_when_its_held_run_is_decided(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    dropped, released = await held_one(db, node), await held_one(db, node)
    for run_id, decide in (dropped, db.control.drop), (released, db.control.release):
        campaign_id = (await run_of(db, run_id)).campaign_id
        await db.control.pause(campaign_id, "tester")
        await decide(run_id, ANN)
        assert await db.status_of(campaign_id) == "paused"
        await db.check_invariants(campaign_id)
    assert await node.claim_attempts() == ([], [])


async def test_the_decision_must_fit_the_run(db: TimedDatabase, node: DatabaseNode) -> None:
    """A run that may have been sent is not dropped, and one that was not cannot fail."""
    run_id = await held_one(db, node)
    with pytest.raises(Conflict, match="release it, or drop it"):
        await db.control.fail_held(run_id, ANN)
    db.set_time(AT - hours(1))
    _, work = await fire_one_off(db, node)
    with pytest.raises(Conflict) as refused:
        await db.control.release(work.run_id, ANN)
    assert refused.value.message == "Not held"
    await node.finish(work, Held("no answer"))
    with pytest.raises(Conflict, match="attempt 1 of this run may have taken effect"):
        await db.control.drop(work.run_id, ANN)
    with pytest.raises(NotFound):
        await db.control.drop(UUID(int=1), ANN)
    await db.control.release(work.run_id, ANN)
    assert [attempt.number for attempt in (await node.claim_attempts())[0]] == [2]


async def test_many_are_decided_only_with_their_number(
    db: TimedDatabase, node: DatabaseNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number is that of what is selected, in batches; a repetition finds nothing to do."""
    monkeypatch.setattr(held_runs, "BATCH", 2)
    run_ids = [await held_one(db, node) for _ in range(5)]
    for confirm in (None, 4):
        with pytest.raises(ConfirmationRequired, match="this concerns 5 runs") as refused:
            await db.control.decide_many("drop", ManyDecided(ALL, confirm, None), ANN)
        assert refused.value.count == 5
    assert await db.control.decide_many("drop", ManyDecided(ALL, 5, "late"), ANN) == 5
    assert [(await run_of(db, each)).status for each in run_ids] == ["missed"] * 5
    assert await db.control.decide_many("drop", ManyDecided(ALL, 5, None), ANN) == 0
    notes = await db.rows("SELECT note FROM audit_log WHERE action = 'run.dropped' ORDER BY id")
    assert [row.note for row in notes] == [f"{n} runs: all=True; late" for n in (2, 2, 1)]


async def test_conditions_select_runs(db: TimedDatabase, node: DatabaseNode) -> None:
    late = await held_one(db, node, name="100% news", target="crm")
    frozen = await held_one(db, node, "held: due while frozen", name="offers")
    db.set_time(AT - hours(1))
    _, work = await fire_one_off(db, node)
    await node.finish(work, Held("no answer"))
    for conditions, selected in (
        (where(reason=HeldReason.LATE), {late}),
        (where(reason=HeldReason.FROZEN), {frozen}),
        (where(reason=HeldReason.ATTEMPT), {work.run_id}),
        (where(target="crm"), {late}),
        (where(name="100%*"), {late}),
        (where(name="of?ers"), {frozen}),
        (where(name="o*", target="crm"), set()),
        (where(campaign=work.campaign_uuid), {work.run_id}),
        (where(campaign=(await run_of(db, late)).campaign_id), {late}),
        (where(before=AT), set()),
        (where(from_=AT, before=AT + seconds(1)), {late, frozen, work.run_id}),
        (where(from_=AT + seconds(1)), set()),
        (where(status="executing"), {late, frozen, work.run_id}),
        (where(type="one_time"), {work.run_id}),
        (ALL, {late, frozen, work.run_id}),
    ):
        found = {listed.run.id for listed in await db.held.page(conditions, limit=10)}
        assert found == selected, conditions
        assert await db.held.count(conditions, "release") == len(selected)
    assert await db.held.count(ALL, "drop") == 2, "a run with an attempt cannot be dropped"
    counts = await db.held.count_by_reason()
    assert {reason: count for reason, count in counts.items() if count} == {
        HeldReason.ATTEMPT: 1,
        HeldReason.LATE: 1,
        HeldReason.FROZEN: 1,
    }


async def test_the_list_begins_with_what_waits_longest(
    db: TimedDatabase, node: DatabaseNode
) -> None:
    first = await held_one(db, node)
    db.advance(minutes(5))
    campaign_id = await db.add_scheduled(once_body(db.now + minutes(1)))
    db.advance(minutes(1))
    second = (await hold(db, node, campaign_id)).run_id
    (one,) = await db.held.page(ALL, limit=1)
    (other,) = await db.held.page(ALL, limit=5, after=one.key)
    assert [one.run.id, other.run.id] == [first, second]
