"""Rows of the audit log: with the change, by whom, and for how long."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from daemon.domain.audit import CAMPAIGN_ACTIONS, ORIGIN, Action, AuditEntry, AuditRecord, Origin
from daemon.domain.campaign.state_machine import Event
from daemon.domain.read_models import PruneStats
from storage import prune
from storage.audit_log import AuditLog, record_in_transaction
from storage.prune import Prune
from storage.tables import audit_log
from tests.support.builders import once_body
from tests.support.clocks import NOON, days, hours
from tests.support.timed_database import TimedDatabase

WITHOUT_COMMAND = {
    *(Event.FIRE, Event.WINDOW_OPENED, Event.WINDOW_CLOSED, Event.RUN_ENDED, Event.PASSED),
}
"""Events that nodes and workers write; the audit log has no row of them."""


async def rows(db: TimedDatabase) -> list[AuditRecord]:
    """Return all rows but those of the schema, oldest first."""
    found = await AuditLog(db.database).page(limit=100)
    return [row for row in found[::-1] if row.action != Action.SCHEMA_UPGRADED]


def test_every_event_of_a_command_has_an_action() -> None:
    assert set(CAMPAIGN_ACTIONS) == set(Event) - WITHOUT_COMMAND


def test_the_page_lists_every_action() -> None:
    page = (Path(__file__).parents[3] / "docs" / "history.md").read_text("utf-8")
    section = page.split("## The audit log")[1]
    listed = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", section))
    assert listed - {"history.audit_days"} == set(Action)


async def test_a_row_has_the_origin_of_its_change(db: TimedDatabase) -> None:
    """The command, the address and the request come from where the change entered."""
    ORIGIN.set(Origin("cli:ann", "campaignd pause", "192.0.2.7", "request 1"))
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    await db.control.pause(campaign_id, "cli:bob")
    row = (await rows(db))[-1]
    assert (row.actor, row.command, row.address) == ("cli:bob", "campaignd pause", "192.0.2.7")
    assert (row.action, row.object, row.object_id) == (
        "campaign.paused",
        "campaign",
        str(campaign_id),
    )
    assert (row.request_id, row.outcome) == ("request 1", "done")


async def test_the_row_is_rolled_back_with_its_change(db: TimedDatabase) -> None:
    async def change_and_fail() -> None:
        async with db.database.transaction() as connection:
            await record_in_transaction(connection, AuditEntry(Action.CAMPAIGN_PAUSED))
            raise ZeroDivisionError

    before = await rows(db)
    with pytest.raises(ZeroDivisionError):
        await change_and_fail()
    assert await rows(db) == before


async def test_a_deletion_outlives_the_history_of_its_campaign(db: TimedDatabase) -> None:
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    for command in (db.control.stop, db.control.archive, db.control.delete_campaign):
        await command(campaign_id, "cli:ann")
    assert await db.events_of(campaign_id) == []
    row = (await rows(db))[-1]
    assert (row.action, row.object_id) == ("campaign.deleted", str(campaign_id))


async def test_runs_leave_no_row(db: TimedDatabase) -> None:
    """What nodes do is in the history of the campaign."""
    node = await db.register_node()
    campaign_id = await db.add_scheduled(once_body(NOON + hours(1)))
    before = await rows(db)
    db.set_time(NOON + hours(1))
    (won,) = await node.claim()
    await node.finish(won.attempt)
    assert await db.run_statuses_of(campaign_id) == ["completed"]
    assert await rows(db) == before


async def test_old_rows_are_deleted_in_batches(
    db: TimedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "ROW_BATCH", 3)
    old = {"actor": "cli:ann", "action": "campaign.paused", "outcome": "done"}
    insert = sa.insert(audit_log).values(**old, at=sa.func.now() - timedelta(days=401))
    async with db.database.statement() as connection:
        for _ in range(8):
            await connection.execute(insert)
    await AuditLog(db.database).record(AuditEntry(Action.RUNS_PRUNED))
    assert await Prune(db.database).prune_audit_log(days(400)) == 8
    assert [row.action for row in await rows(db)] == ["runs.pruned"]


async def test_a_pruning_is_recorded(db: TimedDatabase) -> None:
    await Prune(db.database).record_in_audit_log(PruneStats(12, 30), days(90))
    row = (await rows(db))[-1]
    assert (row.action, row.note) == ("runs.pruned", "12 runs and 30 events older than 90 days")
