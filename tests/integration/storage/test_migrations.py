"""The migrations build the described schema, up and down."""

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
from psycopg.conninfo import make_conninfo

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
from storage.engine import Database
from storage.errors import UnsuitableDatabase
from storage.queries import query
from storage.schema import FIRST_RECORDED, HEAD, Schema, require_schema_in
from storage.session import connection_string
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


@pytest.mark.filterwarnings("ignore:Did not recognize type '(xid8|pg_snapshot)'")
def test_alembic_sees_no_difference(migrated: sa.Connection) -> None:
    context = MigrationContext.configure(migrated, opts={"compare_type": True})
    assert compare_metadata(context, metadata) == []


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [HEAD]


@pytest.mark.parametrize("name", sorted(each.stem for each in SQL.glob("*.sql")))
def test_the_columns_of_a_statement_stay_when_columns_are_added(
    superuser_url: str, name: str
) -> None:
    """Otherwise a daemon could not execute a statement that it prepared before a migration."""
    numbers: dict[str, int] = {}
    text = re.sub(
        r"(?<!:):([a-z_]+)",
        lambda bind: f"${numbers.setdefault(bind[1], len(numbers) + 1)}",
        query(name).text,
    )
    with psycopg.connect(superuser_url, autocommit=True) as connection:
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
    assert migrate.current_schema(empty_database_url).version == HEAD


FOREIGN = {
    "alembic": """
        CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
        INSERT INTO alembic_version VALUES ('7e2a18d9c0aa')""",
    "alembic with several heads": """
        CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
        INSERT INTO alembic_version VALUES ('0002'), ('0003')""",
    "alembic with a version of this form": """
        CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
        CREATE TABLE schema_versions (id integer);
        INSERT INTO alembic_version VALUES ('0002')""",
    "a table of the same name": """
        CREATE TABLE alembic_version (id integer);
        INSERT INTO alembic_version VALUES (1)""",
}


@pytest.mark.parametrize("tables", FOREIGN.values(), ids=FOREIGN)
async def test_the_schema_of_another_program_is_refused(
    empty_database_url: str, tables: str
) -> None:
    """By every command, before it changes anything; the advice is another database."""
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(tables.encode())
    refused = pytest.raises(UnsuitableDatabase, match=r"^the database has the schema of another")
    for action in (migrate.current_schema, migrate.upgrade):
        with refused as caught:
            action(empty_database_url)
        assert caught.value.hint is not None
        assert "give campaignd a database of its own" in caught.value.hint
    database = Database(empty_database_url)
    with refused:
        await require_schema_in(database)
    await database.close()


def test_names_of_another_program_are_refused(empty_database_url: str) -> None:
    """Tables, views and sequences that the migrations would create."""
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("CREATE TABLE campaigns (id integer)")
        connection.execute("CREATE VIEW schedules AS SELECT 1 AS id")
    message = r'^the database has tables of another program: relation "campaigns" already exists$'
    with pytest.raises(UnsuitableDatabase, match=message):
        migrate.upgrade(empty_database_url)
    assert migrate.current_schema(empty_database_url) == Schema(None)


def test_a_schema_of_its_own_beside_another_program(empty_database_url: str) -> None:
    """The `search_path` of the URL leads to it."""
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(FOREIGN["alembic"].encode())
        connection.execute("CREATE TABLE campaigns (id integer)")
        connection.execute("CREATE SCHEMA camps")
    url = make_conninfo(empty_database_url, options="-c search_path=camps")
    migrate.upgrade(url)
    assert migrate.current_schema(url).version == HEAD
    with psycopg.connect(empty_database_url) as connection:
        (tables,) = (
            connection.execute(
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            ).fetchone()
            or ()
        )
    assert tables == 2


def test_every_version_records_its_compatible_releases() -> None:
    """No later version is compatible with more releases than an earlier one."""
    revisions = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    said = {each.revision: each.module for each in revisions if each.revision >= FIRST_RECORDED}
    since = [said[version].compatible_since for version in sorted(said)]
    assert since == sorted(since)
    assert all(each <= version for each, version in zip(since, sorted(said), strict=True))


def test_migrations_go_down_to_nothing_and_up_again(superuser_url: str) -> None:
    def downgrade(connection: sa.Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    with engine_for(superuser_url).begin() as connection:
        downgrade(connection)
        left = connection.execute(
            sa.text(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relname NOT LIKE 'alembic%'"
            )
        )
        assert left.all() == []
    assert migrate.current_schema(superuser_url).version is None
    migrate.upgrade(superuser_url)
    assert migrate.current_schema(superuser_url) == Schema(HEAD, "0005")


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
