"""The audit log: rows are added with the change that they describe, and read."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.audit import ORIGIN, Action, AuditEntry, AuditOutcome, AuditRecord, Origin
from daemon.domain.listing import MAX_COUNT, Counted
from storage.engine import Connections
from storage.errors import StorageUnavailable
from storage.tables import audit_log

UNKNOWN = Origin("unknown")
"""The origin of a change whose caller has set none: a program that uses this package."""
INSERT = sa.insert(audit_log)


def audit_row(entry: AuditEntry) -> dict[str, Any]:
    """Return the columns of a row: the entry, and the origin that is set now."""
    origin = ORIGIN.get(UNKNOWN)
    origin.latest.append(entry)
    return {
        "actor": entry.actor or origin.actor,
        "command": origin.command,
        "address": origin.address,
        "action": entry.action,
        "object": entry.object,
        "object_id": entry.object_id,
        "object_name": entry.object_name,
        "outcome": entry.outcome,
        "request_id": origin.request_id,
        "note": entry.note,
    }


async def record_in_transaction(connection: AsyncConnection, entry: AuditEntry) -> None:
    """Add a row in the transaction of the change."""
    await connection.execute(INSERT, audit_row(entry))


class AuditLog:
    """The audit log of one database."""

    def __init__(self, database: Connections) -> None:
        self._database = database

    async def record(self, entry: AuditEntry) -> None:
        """Add a row that belongs to no change of the database, such as a refusal."""
        async with self._database.statement() as connection:
            await record_in_transaction(connection, entry)

    async def page(
        self,
        *,
        limit: int,
        before: int | None = None,
        actor: str | None = None,
        action: Action | None = None,
        object_id: str | None = None,
        since: datetime | None = None,
    ) -> list[AuditRecord]:
        """Return rows, newest first.

        Args:
            limit: maximum number of rows.
            before: the id from which the page begins, excluded.
            actor: only rows of this actor.
            action: only rows of this action.
            object_id: only rows about the object with this id.
            since: only rows from this instant on.
        """
        column = audit_log.c
        conditions = _conditions(actor, action, object_id, since)
        statement = sa.select(audit_log).where(*conditions).order_by(column.id.desc()).limit(limit)
        if before is not None:
            statement = statement.where(column.id < before)
        async with self._database.statement() as connection:
            rows = (await connection.execute(statement)).all()
        return [AuditRecord(**row._mapping) for row in rows]

    async def count(
        self,
        *,
        actor: str | None = None,
        action: Action | None = None,
        object_id: str | None = None,
        since: datetime | None = None,
    ) -> Counted:
        """Count the rows of all pages, up to `MAX_COUNT`."""
        conditions = _conditions(actor, action, object_id, since)
        some = (
            sa.select(sa.literal(1))
            .select_from(audit_log)
            .where(*conditions)
            .limit(MAX_COUNT + 1)
            .subquery()
        )
        async with self._database.statement() as connection:
            number = await connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0
        return Counted(min(number, MAX_COUNT), number > MAX_COUNT)

    async def record_reload(self, failure: str | None) -> None:
        """Add that the process read its configuration again; ``failure`` says why in vain.

        The reload itself needs no database, so one that is away is no error.
        """
        outcome = AuditOutcome.DONE if failure is None else AuditOutcome.FAILED
        with suppress(StorageUnavailable):
            await self.record(
                AuditEntry(Action.CONFIGURATION_RELOADED, outcome=outcome, note=failure)
            )


def _conditions(
    actor: str | None, action: Action | None, object_id: str | None, since: datetime | None
) -> list[sa.ColumnElement[bool]]:
    column = audit_log.c
    equal = {column.actor: actor, column.action: action, column.object_id: object_id}
    conditions = [filtered == value for filtered, value in equal.items() if value is not None]
    if since is not None:
        conditions.append(column.at >= since)
    return conditions
