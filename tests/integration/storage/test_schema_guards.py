"""The database refuses illegal rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

LEGAL: dict[str, dict[str, Any]] = {
    "campaigns": {"id": 1, "name": "a"},
    "schedule_definitions": {
        "campaign_id": 1,
        "revision": 1,
        "source": "schedule",
        "body": "{}",
        "kind": "once",
        "timezone": "UTC",
        "tzdata": "t",
        "anchor_at": "2026-01-01Z",
        "anchor_local": "2026-01-01",
        "misfire_grace_time": 1,
        "coalesce": True,
        "overlap": "skip",
    },
    "timers": {
        "campaign_id": 1,
        "revision": 1,
        "fire_at": "2026-01-01Z",
        "local": "2026-01-01",
        "kind": "fire",
    },
    "runs": {
        "campaign_id": 1,
        "scheduled_for": "2026-01-01Z",
        "id": "5c6f3d0a-2f6b-4f0e-8f4e-3c1d2b7a9e55",
        "status": "queued",
        "claimed_at": "2026-01-01Z",
        "start_before": "2026-01-02Z",
    },
    "brakes": {"scope": "*", "changed_at": "2026-01-01Z"},
    "control": {"id": 1},
    "calendars": {"name": "c", "revision": 1, "updated_by": "a"},
    "calendar_closed": {"calendar": "c"},
    "api_keys": {"name": "n", "scope": "read", "digest": b"x" * 32},
    "audit_log": {"actor": "a", "action": "a", "outcome": "done"},
    "audit_findings": {
        "kind": "missing",
        "severity": "error",
        "campaign_id": 1,
        "found_at": "2026-01-01Z",
        "seen_at": "2026-01-01Z",
    },
    "nodes": {
        "id": "n",
        "name": "n",
        "host": "h",
        "pid": 1,
        "version": "0",
        "tzdata": "t",
        "started_at": "2026-01-01Z",
        "heartbeat_at": "2026-01-01Z",
        "lease_until": "2026-01-01Z",
        "oldest_claim_at": "2026-01-01Z",
    },
}
FROZEN = {"frozen_at": "2026-01-01Z", "frozen_by": "a"}
OVERDUE = {
    "overdue_since": "2026-01-01Z",
    "overdue_before": "2026-01-02Z",
    "overdue_action": "hold",
    "overdue_cause": "due while frozen",
}
PARENT = {
    "schedule_definitions": "campaigns",
    "timers": "campaigns",
    "calendar_closed": "calendars",
}
DAILY = {
    "kind": "recurring",
    "frequency": "daily",
    "repeat_interval": 1,
    "first_on": "2026-01-01",
    "time_of_day": "09:00",
    "weekdays": [],
    "skip": "backward",
}
MONTHLY = {**DAILY, "frequency": "monthly", "month_day": 31}
NTH = {**DAILY, "frequency": "monthly", "nth": 2, "weekdays": [2]}
WEEKLY = {**DAILY, "frequency": "weekly", "weekdays": [1, 7]}
EXECUTING = {"status": "executing", "attempt": 1, "node": "n", "started_at": "2026-01-01Z"}
ENDED = {"finished_at": "2026-01-01Z"}
ILLEGAL: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # table, a change that is legal, one on top of it that is not
    ("campaigns", {}, {"name": ""}),
    ("campaigns", {"name": "x" * 200}, {"name": "x" * 201}),
    ("campaigns", {"type": "live_content"}, {"type": "weekly"}),
    ("campaigns", {"status": "completed"}, {"status": "done"}),
    ("campaigns", {"payload": '{"a": 1}'}, {"payload": "[1]"}),
    ("campaigns", {"status": "executing", "open_runs": 1}, {"open_runs": 0}),
    ("campaigns", {"status": "paused", "open_runs": 2}, {"open_runs": -1}),
    ("campaigns", {"status": "paused", "open_runs": 2}, {"status": "cancelled"}),
    ("campaigns", {"status": "draft"}, {"open_runs": 1}),
    ("campaigns", {"status": "executing", "open_runs": 1, "queued_runs": 1}, {"queued_runs": 2}),
    ("campaigns", {}, {"queued_runs": -1}),
    ("campaigns", {"status": "executing", "open_runs": 1, "held_runs": 1}, {"held_runs": 2}),
    ("campaigns", {"status": "scheduled", "more_to_come": True}, {"more_to_come": False}),
    ("campaigns", {"status": "launched", "more_to_come": True}, {"more_to_come": False}),
    ("campaigns", {"status": "paused", "more_to_come": True}, {"status": "completed"}),
    ("campaigns", {}, {"more_to_come": True}),
    ("campaigns", {"has_due": True, "has_completed": True}, {"has_due": False}),
    ("campaigns", {"status": "archived", "archived_from": "failed"}, {"archived_from": None}),
    ("campaigns", {"status": "archived", "archived_from": "failed"}, {"archived_from": "paused"}),
    ("campaigns", {}, {"archived_from": "draft"}),
    ("schedule_definitions", {"source": "update_schedule"}, {"source": "import"}),
    ("schedule_definitions", {}, {"kind": "cron"}),
    ("schedule_definitions", {}, {"body": "[]"}),
    ("schedule_definitions", {"overlap": "allow"}, {"overlap": "stop"}),
    ("schedule_definitions", {}, {"misfire_grace_time": 0}),
    ("schedule_definitions", DAILY, {"frequency": "yearly"}),
    ("schedule_definitions", {**DAILY, "repeat_interval": 999}, {"repeat_interval": 1000}),
    ("schedule_definitions", DAILY, {"repeat_interval": 0}),
    ("schedule_definitions", {**DAILY, "skip": "omit"}, {"skip": "forward"}),
    ("schedule_definitions", {**DAILY, "weekdays": [1, 7]}, {"weekdays": [0]}),
    ("schedule_definitions", DAILY, {"weekdays": [8]}),
    ("schedule_definitions", MONTHLY, {"month_day": 32}),
    ("schedule_definitions", NTH, {"nth": 6}),
    ("schedule_definitions", DAILY, {"frequency": None}),
    ("schedule_definitions", DAILY, {"time_of_day": None}),
    ("schedule_definitions", DAILY, {"weekdays": None}),
    ("schedule_definitions", DAILY, {"kind": "once"}),
    ("schedule_definitions", DAILY, {"every_seconds": 60}),
    ("schedule_definitions", {}, {"kind": "recurring"}),
    ("schedule_definitions", {"kind": "window", "every_seconds": 300}, {"every_seconds": 0}),
    ("schedule_definitions", {"kind": "window", "every_seconds": 300}, {**DAILY, "kind": "window"}),
    ("schedule_definitions", {}, {"every_seconds": 300}),
    ("schedule_definitions", MONTHLY, {"month_day": None}),
    ("schedule_definitions", MONTHLY, {"nth": 2, "weekdays": [1]}),
    ("schedule_definitions", NTH, {"weekdays": []}),
    ("schedule_definitions", DAILY, {"month_day": 3}),
    ("schedule_definitions", WEEKLY, {"weekdays": []}),
    (
        "schedule_definitions",
        {**DAILY, "ends_on": "2026-02-01", "ends_at": "2026-02-01Z"},
        {"ends_at": None},
    ),
    ("schedule_definitions", {}, {"campaign_id": 2}),
    ("timers", {"kind": "close"}, {"kind": "end"}),
    ("timers", {}, {"campaign_id": 2}),
    ("timers", {}, {"fire_at": None}),
    ("runs", {"status": "cancelled", **ENDED}, {"status": "running"}),
    ("runs", {"cause": "rerun"}, {"cause": "retry"}),
    ("runs", {}, ENDED),
    ("runs", {"status": "missed", **ENDED}, {"finished_at": None}),
    ("runs", EXECUTING, {"node": None}),
    ("runs", EXECUTING, {"attempt": 0}),
    ("runs", EXECUTING, {"started_at": None}),
    ("runs", EXECUTING, {"next_attempt_at": "2026-01-01Z"}),
    ("runs", {"status": "completed", "attempt": 1, **ENDED}, {"attempt": 0}),
    ("runs", {"status": "failed", "error": "no", **ENDED}, {"error": None}),
    ("runs", {"status": "missed", **ENDED}, {"attempt": 1}),
    ("runs", {"status": "missed", **ENDED}, {"started_at": "2026-01-01Z"}),
    ("runs", {"status": "skipped", **ENDED}, {"attempt": 1}),
    ("runs", {"status": "skipped", **ENDED}, {"started_at": "2026-01-01Z"}),
    (
        "runs",
        {"status": "retrying", "next_attempt_at": "2026-01-01Z"},
        {"next_attempt_at": None},
    ),
    ("runs", {"status": "cancelled", **ENDED}, {"next_attempt_at": "2026-01-01Z"}),
    ("runs", {**EXECUTING, "lease_until": "2026-01-01Z"}, {"status": "held"}),
    ("runs", {"worker_queue": "log"}, {"status": "held"}),
    (
        "runs",
        {**EXECUTING, "lease_until": "2026-01-01Z", "answer": "completed"},
        {"answer": "maybe"},
    ),
    (
        "runs",
        {**EXECUTING, "lease_until": "2026-01-01Z", "answer": "completed"},
        {"lease_until": None},
    ),
    ("nodes", {}, {"lease_until": "2025-01-01Z"}),
    ("control", {}, {"id": 2}),
    ("brakes", {"scope": "target:log"}, {"scope": "target:"}),
    ("brakes", {**FROZEN, "thaw_at": "2026-01-02Z"}, {"frozen_by": None}),
    ("brakes", {**FROZEN, "thaw_at": "2026-01-02Z"}, {"frozen_at": None, "frozen_by": None}),
    ("brakes", OVERDUE, {"overdue_cause": None}),
    ("brakes", OVERDUE, {"overdue_action": "drop"}),
    ("calendars", {"name": "us-holidays"}, {"name": "US holidays"}),
    ("calendar_closed", {"first_on": "2026-01-01", "last_on": "2026-01-01"}, {"last_on": None}),
    (
        "calendar_closed",
        {"starts_at": "2026-01-01Z", "ends_at": "2026-01-02Z"},
        {"ends_at": "2026-01-01Z"},
    ),
    ("api_keys", {"scope": "admin"}, {"scope": "root"}),
    ("api_keys", {}, {"name": ""}),
    ("api_keys", {}, {"digest": b"x"}),
    (
        "api_keys",
        {"previous_digest": b"y" * 32, "previous_until": "2026-01-01Z"},
        {"previous_until": None},
    ),
    ("audit_log", {"outcome": "refused"}, {"outcome": "unknown"}),
    ("audit_findings", {"severity": "notice"}, {"severity": "warning"}),
]


@pytest.fixture(scope="module")
def url_of_one(postgres_server: str, template_database: str) -> Iterator[str]:
    from tests.support.postgres import fresh_database

    with fresh_database(postgres_server, template_database) as (_, url):
        yield url


def insert(cursor: psycopg.Connection[Any], table: str, row: dict[str, Any]) -> None:
    columns, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    cursor.execute(f"INSERT INTO {table} ({columns}) VALUES ({values})".encode(), row)


@pytest.mark.parametrize(("table", "legal", "illegal"), ILLEGAL)
def test_an_illegal_row_is_rejected(
    url_of_one: str, table: str, legal: dict[str, Any], illegal: dict[str, Any]
) -> None:
    """Only the difference is illegal: the row without it is accepted."""
    with psycopg.connect(url_of_one) as connection:
        if table in PARENT:
            insert(connection, PARENT[table], LEGAL[PARENT[table]])
        if table == "control":
            connection.execute("DELETE FROM control")
        with connection.transaction(force_rollback=True):
            insert(connection, table, {**LEGAL[table], **legal})
        with pytest.raises(psycopg.errors.IntegrityError):
            insert(connection, table, {**LEGAL[table], **legal, **illegal})
        connection.rollback()


def test_an_occurrence_has_one_run(url_of_one: str) -> None:
    with psycopg.connect(url_of_one) as connection:
        insert(connection, "runs", LEGAL["runs"])
        with pytest.raises(psycopg.errors.UniqueViolation):
            insert(connection, "runs", LEGAL["runs"])
        connection.rollback()


@pytest.mark.parametrize(("status", "is_hot"), [("completed", True), ("cancelled", False)])
def test_an_ordinary_end_touches_no_index(url_of_one: str, status: str, is_hot: bool) -> None:
    """Only runs of a rare status are in the index of rare statuses."""
    with psycopg.connect(url_of_one) as connection:
        insert(connection, "runs", {**LEGAL["runs"], **EXECUTING})
        connection.execute("UPDATE runs SET status = %s, finished_at = now()", [status])
        counted = connection.execute(
            "SELECT pg_stat_get_xact_tuples_hot_updated('runs'::regclass)"
        ).fetchone()
        connection.rollback()
    assert counted == (int(is_hot),)


def test_every_check_is_violated_above(url_of_one: str) -> None:
    violated = set()
    with psycopg.connect(url_of_one) as connection:
        for table, legal, illegal in ILLEGAL:
            with pytest.raises(psycopg.errors.IntegrityError) as error:
                insert(connection, table, {**LEGAL[table], **legal, **illegal})
            violated.add(error.value.diag.constraint_name)
            connection.rollback()
        checks = connection.execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'c'"
            " AND connamespace = 'public'::regnamespace"
        ).fetchall()
    assert {name for (name,) in checks} - violated == set()
