"""Upgrades a database's schema with Alembic, and describes the database to libpq programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa
from psycopg.pq import Conninfo

from daemon.domain.audit import Action, AuditEntry
from storage.audit_log import INSERT, audit_row
from storage.errors import (
    SchemaInUse,
    SchemaOutOfDate,
    StatementDenied,
    StorageUnavailable,
    UnsuitableDatabase,
    first_line,
    translate_errors,
)
from storage.privilege_checks import explain_denial, require_owner, require_visible_schema
from storage.schema import HEAD, OWN_DATABASE, UNRECORDED, Schema, read_schema
from storage.session import connect, connection_string

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script


MAX_DEADLOCKS = 3
"""Number of retries after a deadlock with a transaction of a running node."""


def migration_statements(name: str) -> list[str]:
    """Return the statements of a migration's frozen SQL file, split at ``;`` + newline."""
    script = files("storage").joinpath("migrations", "versions", name).read_text(encoding="utf-8")
    return [part.strip() for part in script.split(";\n") if part.strip()]


def upgrade(dsn: str, revision: str = "head") -> None:
    """Upgrade the database at ``dsn`` to ``revision``; of simultaneous calls, one upgrades it.

    A newer schema that this release can work on stays as it is.

    Raises:
        StorageUnavailable: the database cannot be reached, or deadlocks repeatedly.
        PrivilegeMissing: the role may not migrate it.
        SchemaOutOfDate: this release cannot work on the newer schema, or on this database.
        SchemaInUse: a live node's release cannot work on the new schema.
    """
    found = current_schema(dsn)
    if found.is_newer:
        found.require_compatible()
        return
    if revision == "head" and found.version == HEAD:
        return
    from alembic.util import CommandError

    tries = 0
    while True:
        try:
            _run_migrations(dsn, found, revision)
        except StorageUnavailable as error:
            tries += 1
            if tries > MAX_DEADLOCKS or not _is_deadlock(error):
                raise
        except CommandError as error:
            raise SchemaOutOfDate(f"cannot upgrade the database's schema: {error}") from error
        else:
            return


def _run_migrations(dsn: str, found: Schema, revision: str) -> None:
    from alembic import command

    config = _alembic_config()
    try:
        with _migration_transaction(dsn) as connection:
            require_owner(connection)
            _require_unused(connection, found, _migration_script(config, revision))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            if revision == "head":
                note = f"from {found.version or 'none'}"
                entry = AuditEntry(Action.SCHEMA_UPGRADED, "schema", HEAD, note=note)
                connection.execute(INSERT, audit_row(entry))
    except sa.exc.DBAPIError as error:
        if not isinstance(error.orig, psycopg.errors.DuplicateTable):
            raise
        raise UnsuitableDatabase(
            f"the database has tables of another program: {first_line(error.orig)}",
            hint=OWN_DATABASE,
        ) from error


def _is_deadlock(error: StorageUnavailable) -> bool:
    cause = error.__cause__
    cause = cause.orig if isinstance(cause, sa.exc.DBAPIError) else cause
    return isinstance(cause, psycopg.errors.DeadlockDetected)


def current_schema(dsn: str) -> Schema:
    """Return the schema of the database at ``dsn``.

    Raises:
        StorageUnavailable: the database cannot be reached.
        PrivilegeMissing: the role cannot see the schema.
    """
    with _migration_transaction(dsn) as connection:
        found = read_schema(connection)
        if found.version is None:
            require_visible_schema(connection)
        return found


@contextmanager
def _migration_transaction(dsn: str) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction; a refusal names the role and the right."""
    engine = _make_engine(dsn)
    try:
        with translate_errors(), engine.begin() as connection:
            yield connection
    except StatementDenied as denied:
        with translate_errors(), engine.connect() as connection:
            raise explain_denial(connection, denied) from denied
    finally:
        engine.dispose()


def _migration_script(config: Config, revision: str) -> Script:
    from alembic.script import ScriptDirectory

    found = ScriptDirectory.from_config(config).get_revision(revision)
    assert found is not None
    return found


def _require_unused(connection: sa.Connection, found: Schema, goal: Script) -> None:
    """Raise SchemaInUse when a live node's release cannot work on the goal."""
    if found.version is None or found.version >= goal.revision:
        return
    since: str = getattr(goal.module, "compatible_since", "")
    for node in connection.execute(_TOO_OLD, {"since": since, "unrecorded": UNRECORDED}):
        raise SchemaInUse(
            f"schema {goal.revision} needs releases that know {since} or later; node {node.name}"
            f" (release {node.version}, which knows {node.schema_version}) is at work",
            hint="stop it first, or wait until its lease has ended",
        )


# A node of an early release records no version: it knows 0002, and its table lacks the column.
_TOO_OLD = sa.text(
    """
    SELECT name, version, schema_version
    FROM (SELECT n.name, n.version, n.lease_until,
                 coalesce(to_jsonb(n) ->> 'schema_version', CAST(:unrecorded AS text))
                     AS schema_version
          FROM nodes n) AS known
    WHERE lease_until > clock_timestamp() AND schema_version < CAST(:since AS text)
    ORDER BY name
    """
)


def libpq_environment(dsn: str) -> dict[str, str]:
    """Return a database URL as libpq environment variables (`PGHOST`, `PGPASSWORD` ...).

    The password of an environment stays out of the process list. Options without such a variable
    are left out.
    """
    return {
        option.envvar.decode(): option.val.decode()
        for option in Conninfo.parse(dsn.encode())
        if option.envvar and option.val
    }


def _alembic_config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(str(files("storage"))) / "migrations"))
    return config


def _make_engine(dsn: str) -> sa.Engine:
    conninfo = connection_string(dsn, "campaignd-migrate")

    def open_transactional() -> psycopg.Connection[Any]:
        connection = connect(conninfo)
        connection.autocommit = False
        return connection

    return sa.create_engine(
        "postgresql+psycopg://",
        creator=open_transactional,
        poolclass=sa.pool.NullPool,
    )
