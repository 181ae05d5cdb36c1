"""Runs migrations on the connection handed over by ``storage.migrate`` (or one Alembic opens)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import sqlalchemy as sa
from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import Connection, create_engine, text

from storage.schema import FIRST_RECORDED
from storage.tables import metadata, schema_versions

LOCK = 0x63616D70
"""Advisory lock: of several nodes that start at once, one migrates and the others wait."""


def run(connection: Connection) -> None:
    """Everything in one transaction, under the lock, so a failed upgrade leaves nothing behind."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=True,
        on_version_apply=recorded,
    )
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()


def recorded(
    ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]
) -> None:
    """Write, with each version, since which one it is compatible."""
    del heads, run_args
    version = step.up_revision_id
    if version is None or version < FIRST_RECORDED:
        return
    if step.is_upgrade:
        since: str = cast("Script", step.up_revision).module.compatible_since
        ctx.execute(
            sa.insert(schema_versions).values(version=version, compatible_since=since),
        )
    elif version > FIRST_RECORDED:  # which takes the table away itself
        ctx.execute(sa.delete(schema_versions).where(schema_versions.c.version == version))


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, on_version_apply=recorded)
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url") or "").begin() as opened:
        run(opened)
