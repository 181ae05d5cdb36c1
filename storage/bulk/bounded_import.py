"""Imports lines that are in memory, within a transaction that the caller may already have begun."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.audit import Action, AuditEntry
from daemon.domain.import_report import MAX_BAD_LINES, ImportReport, UnloadedLine
from storage.audit_log import AuditLog
from storage.bulk.importer import Importer
from storage.bulk.planner import ScheduleDefaults
from storage.engine import Connections


class BoundedImport:
    """Imports into one database.

    Args:
        connections: the database, or a transaction in progress.
        defaults: the settings that lines are read with.
    """

    def __init__(self, connections: Connections, defaults: ScheduleDefaults) -> None:
        self._connections = connections
        self._defaults = defaults

    async def load(self, lines: Sequence[bytes], actor: str, *, update: bool) -> ImportReport:
        """Load every line that can be loaded; see `Importer`."""
        bad: list[UnloadedLine] = []
        importer = Importer(
            _Savepoints(self._connections),
            actor=actor,
            defaults=self._defaults,
            report=lambda number, reason: bad.append(UnloadedLine(number, reason)),
            update=update,
        )
        counts = await importer.load(iter(lines))
        if counts.loaded:
            entry = AuditEntry(
                Action.CAMPAIGNS_IMPORTED, note=f"{counts.loaded} campaigns loaded", actor=actor
            )
            await AuditLog(self._connections).record(entry)
        return ImportReport(
            counts.loaded, counts.unchanged, counts.updated, counts.bad, tuple(bad[:MAX_BAD_LINES])
        )


class _Savepoints:
    """Connections whose transactions can fail without ending the one that they are part of."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection."""
        async with self._connections.statement() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection; an error undoes only what was done since."""
        async with (
            self._connections.transaction() as connection,
            connection.begin_nested(),
        ):
            yield connection
