"""The migrated schema equals the described schema, and refuses illegal rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.schedule.schedule import (
    CampaignType,
    EventKind,
    Frequency,
    Kind,
    Overlap,
    ScheduleSource,
    Skip,
)
from storage import migrate
from storage.engine import connection_string
from storage.queries import query
from storage.schema import FIRST_RECORDED, HEAD, Schema
from storage.tables import metadata

SQL = Path(str(migrate.files("storage"))) / "sql"
DEFINITIONS = {
    "checks": "SELECT conrelid::regclass::text || ' ' || conname, pg_get_constraintdef(oid)"
    " FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
    " AND conrelid::regclass::text <> 'alembic_version'",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    " AND tablename <> 'alembic_version'",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "columns": "SELECT table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable,"
    " column_default, is_identity, identity_generation) FROM information_schema.columns"
    " WHERE table_schema = 'public' AND table_name <> 'alembic_version'",
    "storage": "SELECT relname, array_to_string(reloptions, ',') FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    " AND relname <> 'alembic_version'",
    "sequences": "SELECT sequencename, data_type::text FROM pg_sequences"
    " WHERE schemaname = 'public'",
}


def engine_for(url: str) -> sa.Engine:
    conninfo = connection_string(url, "tests")
    return sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=sa.NullPool
    )


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrate.files("storage") / "migrations"))
    return config


@pytest.fixture
def migrated(database_url: str) -> Iterator[sa.Connection]:
    with engine_for(database_url).connect() as connection:
        yield connection


@pytest.fixture
def described(empty_database_url: str) -> Iterator[sa.Connection]:
    """The schema of `storage.tables`."""
    engine = engine_for(empty_database_url)
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection


@pytest.mark.parametrize("what", DEFINITIONS)
def test_migrations_create_the_described_schema(
    migrated: sa.Connection, described: sa.Connection, what: str
) -> None:
    query = sa.text(DEFINITIONS[what])
    found = dict(tuple(row) for row in migrated.execute(query))
    assert found == dict(tuple(row) for row in described.execute(query))
    assert found


@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
def test_alembic_sees_no_difference(migrated: sa.Connection) -> None:
    context = MigrationContext.configure(migrated, opts={"compare_type": True})
    assert compare_metadata(context, metadata) == []


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [HEAD]


@pytest.mark.parametrize("name", sorted(each.stem for each in SQL.glob("*.sql")))
def test_the_columns_of_a_statement_stay_when_columns_are_added(
    database_url: str, name: str
) -> None:
    """Otherwise a daemon could not execute a statement that it prepared before a migration."""
    numbers: dict[str, int] = {}
    text = re.sub(
        r"(?<!:):([a-z_]+)",
        lambda bind: f"${numbers.setdefault(bind[1], len(numbers) + 1)}",
        query(name).text,
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        prepared = connection.pgconn.prepare(b"before", text.encode())
        assert not prepared.error_message, prepared.error_message
        for table in metadata.tables:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN later text".encode())
        for view, alias in {"armed_timers": "t", "schedules": "d"}.items():
            row = connection.execute("SELECT pg_get_viewdef(%s::regclass)", [view]).fetchone()
            assert row is not None
            columns, tables = row[0].split("\n   FROM ")
            wider = f"CREATE OR REPLACE VIEW {view} AS {columns}, {alias}.later FROM {tables}"
            connection.execute(wider.encode())
        values: list[bytes | None] = [None] * len(numbers)
        answer = connection.pgconn.exec_prepared(b"before", values)
        assert b"result type" not in answer.error_message


def test_a_migration_is_retried_after_a_deadlock(empty_database_url: str) -> None:
    """Another session holds a lock that the migration needs, and waits for its lock."""
    migrate.upgrade(empty_database_url, "0002")
    with ThreadPoolExecutor() as pool, psycopg.connect(empty_database_url) as other:
        # Later than the migration's own: it is the one that notices.
        other.execute("SET deadlock_timeout = '200s'")
        other.execute("LOCK TABLE nodes IN SHARE MODE")
        migration = pool.submit(migrate.upgrade, empty_database_url)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'nodes'::regclass"
        while other.execute(waiting).fetchone() == (0,):
            assert not migration.done()
        other.execute("LOCK TABLE runs IN SHARE MODE")
        other.rollback()
        migration.result(120)
    assert migrate.current(empty_database_url).version == HEAD


def test_every_version_records_its_compatible_releases() -> None:
    """No later version is compatible with more releases than an earlier one."""
    revisions = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    said = {each.revision: each.module for each in revisions if each.revision >= FIRST_RECORDED}
    since = [said[version].compatible_since for version in sorted(said)]
    assert since == sorted(since)
    assert all(each <= version for each, version in zip(since, sorted(said), strict=True))


def test_migrations_go_down_to_nothing_and_up_again(database_url: str) -> None:
    def downgrade(connection: sa.Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    with engine_for(database_url).begin() as connection:
        downgrade(connection)
        left = connection.execute(
            sa.text(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relname NOT LIKE 'alembic%'"
            )
        )
        assert left.all() == []
    assert migrate.current(database_url).version is None
    migrate.upgrade(database_url)
    assert migrate.current(database_url) == Schema(HEAD, "0002")


@pytest.mark.parametrize(
    ("table", "constraint", "values"),
    [
        ("campaigns", "campaigns_status_check", Status),
        ("campaigns", "campaigns_type_check", CampaignType),
        ("runs", "runs_status_check", RunStatus),
        ("timers", "timers_kind_check", EventKind),
        ("schedule_definitions", "schedule_definitions_kind_check", Kind),
        ("schedule_definitions", "schedule_definitions_source_check", ScheduleSource),
        ("schedule_definitions", "schedule_definitions_overlap_check", Overlap),
    ],
)
def test_the_database_has_the_same_names(
    migrated: sa.Connection, table: str, constraint: str, values: Any
) -> None:
    text = migrated.scalar(
        sa.text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = :name"),
        {"name": constraint},
    )
    assert set(re.findall(r"'([a-z_]+)'", text)) == {value.value for value in values}


def test_rules_have_the_same_names(migrated: sa.Connection) -> None:
    text = migrated.scalar(
        sa.text(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conname = 'schedule_definitions_range_check'"
        )
    )
    assert set(re.findall(r"'([a-z]+)'::text", text)) == {
        *(value.value for value in Frequency),
        *(value.value for value in Skip),
    }


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
    "api_keys": {"name": "n", "scope": "read", "digest": b"x" * 32},
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
    ("api_keys", {"scope": "admin"}, {"scope": "root"}),
    ("api_keys", {}, {"name": ""}),
    ("api_keys", {}, {"digest": b"x"}),
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
        if table in ("schedule_definitions", "timers"):
            insert(connection, "campaigns", LEGAL["campaigns"])
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
