"""Import: the campaign of a line, and the errors of bad lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from storage.bulk.importer import BATCH_LINES
from storage.bulk.planner import UNKNOWN_OUTCOME, ScheduleDefaults
from storage.notice import CHANNEL
from storage.tables import campaign_events, campaigns
from tests.support.bulk_files import (
    EARLIER,
    LATER,
    NEXT_MONDAY,
    ONE_OFF,
    OVER,
    WEEKLY,
    WINDOW,
    import_line,
    load_lines,
    only_campaign,
    select_rows,
)


@pytest.mark.parametrize(
    ("given", "status", "event", "fire_at"),
    [
        (import_line(), "draft", None, None),
        (import_line(schedule={"schedule_type": "immediate"}), "draft", None, None),
        (import_line(schedule=ONE_OFF), "scheduled", "fire", datetime(2026, 3, 5, 9, tzinfo=UTC)),
        (import_line(schedule=ONE_OFF, status="draft"), "draft", None, None),
        (import_line(schedule=ONE_OFF, status="launched"), "scheduled", "fire", None),
        (import_line(schedule=WEEKLY), "scheduled", "fire", NEXT_MONDAY),
        (
            import_line(schedule=WEEKLY) | {"anchor": "2026-02-02T09:00:00"},
            "launched",
            "fire",
            NEXT_MONDAY,
        ),
        (
            import_line(schedule=WINDOW, type="event_triggered"),
            "launched",
            "close",
            datetime(2026, 4, 1, tzinfo=UTC),
        ),
        (import_line(schedule={"startdate": EARLIER}, type="live_content"), "launched", None, None),
        (
            import_line(schedule=WINDOW, type="segment_triggered", status="scheduled"),
            "launched",
            "fire",
            datetime(2026, 3, 5, 9, tzinfo=UTC),
        ),
        (
            import_line(schedule={"startdate": LATER}, type="live_content"),
            "scheduled",
            "open",
            datetime(2026, 3, 5, 9, tzinfo=UTC),
        ),
        (import_line(schedule=ONE_OFF, status="paused"), "paused", "fire", None),
        (import_line(schedule=OVER, status="paused"), "paused", None, None),
        (
            import_line(schedule=WINDOW, type="event_triggered", status="executing"),
            "launched",
            "close",
            None,
        ),
        (
            import_line(schedule=OVER, status="executing"),
            "failed",
            None,
            None,
        ),
        (import_line(status="executing"), "failed", None, None),
        (
            import_line(schedule=OVER, status="completed"),
            "completed",
            None,
            None,
        ),
        (import_line(schedule=ONE_OFF, status="cancelled"), "cancelled", None, None),
        (import_line(status="archived", archived_from="failed"), "archived", None, None),
    ],
)
async def test_a_line_becomes_a_campaign(
    database_url: str,
    given: dict[str, Any],
    status: str,
    event: str | None,
    fire_at: datetime | None,
) -> None:
    tally, bad = await load_lines(database_url, [given])
    assert (tally.loaded, bad) == (1, [])
    row = await only_campaign(database_url)
    assert (row.status, row.event) == (status, event)
    if fire_at is not None:
        assert row.fire_at == fire_at
    (logged,) = await select_rows(database_url, sa.select(campaign_events))
    was_executing = given["campaign"].get("status") == "executing"
    assert (logged.event, logged.to_status, logged.actor) == ("imported", status, "test")
    assert logged.cause == (UNKNOWN_OUTCOME if was_executing else None)


@pytest.mark.parametrize(
    ("campaign", "due", "completed"),
    [
        ({"status": "completed"}, True, True),
        ({"status": "completed", "type": "event_triggered"}, False, False),
        ({"status": "failed"}, True, False),
        ({"status": "archived", "archived_from": "completed"}, True, True),
        ({"status": "cancelled"}, False, False),
        ({"status": "cancelled", "history": {"due": True}}, True, False),
        ({"status": "draft", "history": {"due": True, "completed": True}}, True, True),
        ({"status": "failed", "history": {"due": True, "completed": True}}, True, True),
    ],
)
async def test_the_history_of_a_line_is_kept(
    database_url: str, campaign: dict[str, Any], due: bool, completed: bool
) -> None:
    _, bad = await load_lines(database_url, [import_line(**campaign)])
    assert bad == []
    row = await only_campaign(database_url)
    assert (row.has_due, row.has_completed) == (due, completed)


BAD: list[tuple[object, str]] = [
    (b"nope\n", "is not JSON"),
    (b"[1]\n", "must be an object"),
    (b"\xff\n", "is not UTF-8 at byte 0"),
    (b'{"campaign": {"name": "a", "payload": {"n": NaN}}}\n', "NaN is not JSON"),
    (b'{"campaign": {"name": "a", "payload": {"n": 1e999}}}\n', "is too large"),
    (b'{"campaign": {"name": "a", "payload": {"n": 1e-999}}}\n', "would be changed"),
    (b'{"campaign": {"name": "a\\ud800"}}\n', "lone surrogate"),
    (b'{"campaign": {"name": "a", "payload": {"a\\u0000": 1}}}\n', "\\u0000"),
    (b"[" * 100_000 + b"\n", "nested too deeply"),
    (b'{"campaign": {"name": "' + b"a" * 300_000 + b'"}}\n', "is longer than"),
    (b'{"campaign": {"name": "a", "payload": {"n": ' + b"1" * 5000 + b"}}}\n", "too many digits"),
    ({"schedule": None}, "campaign can't be blank"),
    ({"campaign": [], "schedule": None}, "campaign is []"),
    (import_line(colour="red"), "campaign.colour is unknown"),
    (import_line() | {"colour": "red"}, "colour is unknown"),
    (import_line(history={"old": True}), "campaign.history.old is unknown"),
    (import_line(name=""), "campaign.name"),
    (import_line(name="x" * 201), "campaign.name"),
    (import_line(uuid="5"), "campaign.uuid"),
    (import_line(id=0), "campaign.id"),
    (import_line(id="5"), "campaign.id"),
    (import_line(type="weekly"), "campaign.type"),
    (import_line(status="done"), "campaign.status"),
    (import_line(timezone="Europe/paris"), "did you mean Europe/Paris"),
    (import_line(target=7), "campaign.target"),
    (import_line(target="mail", schedule=ONE_OFF), "campaign.target is 'mail', configured are log"),
    (import_line(payload=[1]), "campaign.payload"),
    (import_line(payload={"a": "x" * 65_536}), "must have at most 65536"),
    (import_line(payload={"a": [1e308] * 8_000}), "must have at most 65536"),
    (import_line(status="archived"), "campaign.archived_from"),
    (import_line(archived_from="draft"), "campaign.archived_from"),
    (import_line(status="archived", archived_from="paused"), "campaign.archived_from"),
    (import_line(created_at="2026-01-01T00:00:00"), "campaign.created_at"),
    (import_line() | {"anchor": LATER}, "anchor"),
    (import_line() | {"anchor": "2026-02-30T09:00"}, "no such day: February 2026 has 28 days"),
    (import_line(created_at="2026-01-01T24:00:00Z"), "midnight is 00:00 of the next day"),
    (import_line() | {"defaults": {"misfire_grace_time": 0}}, "defaults.misfire_grace_time"),
    (import_line(status="scheduled"), "needs a schedule"),
    (import_line(status="launched"), "needs a schedule"),
    (import_line(schedule={"schedule_type": "scheduled"}), "scheduled_at can't be blank"),
    (import_line(schedule=ONE_OFF, type="live_content"), "update_schedule"),
    (import_line(schedule=OVER), "Scheduled time is in the past"),
    (import_line(schedule={"startdate": EARLIER}), "must be after 2026-03-04"),
    (
        import_line(schedule=WINDOW | {"enddate": "2026-03-02T00:00:00Z"}, type="event_triggered"),
        "nothing is to come",
    ),
    (
        import_line(status="completed", history={"due": True, "completed": False}),
        "no completed run",
    ),
    (import_line(status="failed", history={"due": False}), "nothing due"),
    (import_line(history={"due": False, "completed": True}), "completed without due"),
]


@pytest.mark.parametrize(("given", "reason"), BAD, ids=[reason for _, reason in BAD])
async def test_a_bad_line_is_reported_with_its_reason(
    database_url: str, given: object, reason: str
) -> None:
    defaults = ScheduleDefaults(targets=frozenset({"log"}))
    tally, bad = await load_lines(
        database_url, [import_line("b"), given, b"\n", import_line("c")], defaults=defaults
    )
    assert (tally.loaded, tally.bad) == (2, 1)
    assert [number for number, _ in bad] == [2]
    assert reason in bad[0][1]
    assert len(bad[0][1]) < 1000


async def test_a_line_that_only_the_server_refuses_is_one_bad_line(superuser_url: str) -> None:
    """A batch that the server refuses is split in halves until the line is alone."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE campaigns ADD CHECK (name <> 'n7')")
    tally, bad = await load_lines(
        superuser_url, [import_line(f"n{number}") for number in range(20)]
    )
    assert (tally.loaded, tally.bad) == (19, 1)
    assert bad[0][0] == 8
    assert "cannot be stored" in bad[0][1]


async def test_an_error_of_the_database_is_not_reported_for_lines(superuser_url: str) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE campaign_events RENAME TO away")
    with pytest.raises(psycopg.errors.UndefinedTable):
        await load_lines(superuser_url, [import_line()])


async def test_ids_are_kept_if_free_and_never_assigned_twice(database_url: str) -> None:
    async def ids() -> dict[str, int]:
        found = await select_rows(database_url, sa.select(campaigns.c.name, campaigns.c.id))
        return {row.name: row.id for row in found}

    await load_lines(
        database_url, [import_line("seven", id=7), import_line("again", id=7), import_line("none")]
    )
    first = await ids()
    assert first["seven"] == 7
    assert min(first["again"], first["none"]) > 7
    await load_lines(
        database_url,
        [import_line("taken", id=first["none"]), import_line("high", id=5_000_000_000)],
    )
    second = await ids()
    assert second["none"] == first["none"] != second["taken"]
    assert second["high"] == 5_000_000_000
    await load_lines(database_url, [import_line("after")])
    assert (await ids())["after"] > 5_000_000_000


@pytest.mark.parametrize("count", [3, BATCH_LINES])
async def test_nodes_are_notified_once_a_batch(database_url: str, count: int) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        await load_lines(
            database_url, [import_line(f"n{number}", ONE_OFF) for number in range(count)]
        )
        notifications = [
            *listener.notifies(timeout=60, stop_after=1),
            *listener.notifies(timeout=0.2),
        ]
    payloads = [json.loads(each.payload) for each in notifications]
    few = {
        "campaigns": [row.id for row in await select_rows(database_url, sa.select(campaigns.c.id))]
    }
    assert payloads == [few if count == 3 else {"reload": True}]
