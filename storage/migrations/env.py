"""Runs migrations on the connection of ``storage.migrate``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import sqlalchemy as sa
from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import Connection, text

from storage.schema import FIRST_RECORDED
from storage.tables import metadata, schema_versions

LOCK = 0x63616D70
"""Advisory lock: when several nodes start at once, one migrates and the others wait."""


def migrate_in_transaction(connection: Connection) -> None:
    """Run every migration in one locked transaction, so that a failed upgrade changes nothing."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=True,
        on_version_apply=record_version,
    )
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()


def record_version(
    ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]
) -> None:
    """Record since which version each applied version is compatible."""
    del heads, run_args
    version = step.up_revision_id
    if version is None or version < FIRST_RECORDED:
        return
    if step.is_upgrade:
        since: str = cast("Script", step.up_revision).module.compatible_since
        ctx.execute(
            sa.insert(schema_versions).values(version=version, compatible_since=since),
        )
    elif version > FIRST_RECORDED:  # whose downgrade drops the table
        ctx.execute(sa.delete(schema_versions).where(schema_versions.c.version == version))


if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql", literal_binds=True, on_version_apply=record_version
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    migrate_in_transaction(context.config.attributes["connection"])
