"""Bringing a database's schema up to date. Alembic does the work."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from storage.engine import connection_string
from storage.errors import SchemaInUse, SchemaOutOfDate, StorageUnavailable, translated
from storage.schema import HAS_TABLES, HEAD, RECORDED, UNSAID, VERSION, Schema

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script


DEADLOCKS = 3
"""So often a migration is tried again: it may meet a transaction that holds what it needs next."""


def statements(name: str) -> list[str]:
    """The statements of one frozen SQL file beside the migrations, split at ``;`` + end of line."""
    script = files("storage").joinpath("migrations", "versions", name).read_text(encoding="utf-8")
    return [part.strip() for part in script.split(";\n") if part.strip()]


def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring the database at ``dsn`` to ``revision``; several may ask at once, one does it.

    A newer schema that this release can work on is left as it is.

    Raises:
        StorageUnavailable: the database can not be reached, or deadlocks again and again.
        SchemaOutOfDate: the database is newer than what this release can work on.
        SchemaInUse: a live node's release could not work on what this would make of it.
    """
    found = current(dsn)
    if found.is_newer:
        found.require_compatible()
        return
    if revision == "head" and found.version == HEAD:
        return
    from alembic.util import CommandError

    tries = 0
    while True:
        try:
            _upgrade(dsn, found, revision)
        except StorageUnavailable as error:
            tries += 1
            if tries > DEADLOCKS or not _is_deadlock(error):
                raise
        except CommandError as error:
            raise SchemaOutOfDate(f"can not upgrade the database's schema: {error}") from error
        else:
            return


def _upgrade(dsn: str, found: Schema, revision: str) -> None:
    from alembic import command

    config = _config()
    engine = _engine(dsn)
    try:
        with translated(), engine.begin() as connection:
            _require_unused(connection, found, _script(config, revision))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def _is_deadlock(error: StorageUnavailable) -> bool:
    cause = error.__cause__
    cause = cause.orig if isinstance(cause, sa.exc.DBAPIError) else cause
    return isinstance(cause, psycopg.errors.DeadlockDetected)


def current(dsn: str) -> Schema:
    """The schema of the database at ``dsn``."""
    engine = _engine(dsn)
    try:
        with translated(), engine.connect() as connection:
            has = connection.execute(HAS_TABLES).one()
            if not has.versioned:
                return Schema(None)
            row = connection.execute(RECORDED if has.recorded else VERSION).one_or_none()
            return Schema(None) if row is None else Schema(row.version, row.compatible_since)
    finally:
        engine.dispose()


def _script(config: Config, revision: str) -> Script:
    from alembic.script import ScriptDirectory

    found = ScriptDirectory.from_config(config).get_revision(revision)
    assert found is not None
    return found


def _require_unused(connection: sa.Connection, found: Schema, goal: Script) -> None:
    """SchemaInUse when a live node's release could not work on the goal."""
    if found.version is None or found.version >= goal.revision:
        return
    since: str = getattr(goal.module, "compatible_since", "")
    for node in connection.execute(_TOO_OLD, {"since": since, "unsaid": UNSAID}):
        raise SchemaInUse(
            f"schema {goal.revision} needs releases that know {since} or later; node {node.name}"
            f" (release {node.version}, which knows {node.schema_version}) is at work",
            hint="stop it first, or wait until its lease has ended",
        )


# A node of a release that did not write it yet knows 0002, and its table may lack the column.
_TOO_OLD = sa.text(
    """
    SELECT name, version, schema_version
    FROM (SELECT n.name, n.version, n.lease_until,
                 coalesce(to_jsonb(n) ->> 'schema_version', CAST(:unsaid AS text)) AS schema_version
          FROM nodes n) AS known
    WHERE lease_until > clock_timestamp() AND schema_version < CAST(:since AS text)
    ORDER BY name
    """
)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(str(files("storage"))) / "migrations"))
    return config


def _engine(dsn: str) -> sa.Engine:
    conninfo = connection_string(dsn, "campaignd-migrate")
    return sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(conninfo),
        poolclass=sa.pool.NullPool,
    )
