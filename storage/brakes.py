"""Freezes and thaws: the rows of ``brakes``, and who obeys them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.audit import Action, AuditEntry
from daemon.domain.brakes import (
    HELD_CAUSE,
    MISSED_CAUSE,
    Brake,
    Brakes,
    Freeze,
    Frozen,
    Mark,
    Overdue,
    Thaw,
    scope_of,
)
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import Conflict
from daemon.domain.receipts import Receipt
from daemon.domain.run.held import require_confirmation
from storage.audit_log import record_in_transaction
from storage.engine import Connections
from storage.notice import notify_nodes
from storage.receipts import wait_until_applied
from storage.tables import brakes, campaigns, timers

_LIVE = (Status.SCHEDULED, Status.LAUNCHED, Status.EXECUTING)
_LAST_CHANGE = sa.select(sa.func.max(brakes.c.changed_at)).scalar_subquery()


class BrakeStore:
    """The brakes of one database.

    Args:
        database: the database.
        now: an instant that replaces the database clock, for tests.
    """

    def __init__(self, database: Connections, now: datetime | None = None) -> None:
        self._database = database
        self.now = now

    async def read(self) -> Brakes:
        """Return all brakes."""
        async with self._database.statement() as connection:
            return await read_brakes(connection)

    async def count_waiting(self, brake: Brake) -> int:
        """Count the occurrences of a scope that are due."""
        async with self._database.statement() as connection:
            now = self.now or await connection.scalar(sa.select(sa.func.clock_timestamp()))
            assert now is not None
            return await _count_due(connection, brake.target, now)

    async def wait_until_obeyed(self, freeze: Freeze, seconds: float) -> Receipt:
        """Wait until every live node obeys a freeze, at most for some seconds."""
        return await wait_until_applied(self._database, freeze.transaction, seconds)

    async def freeze(
        self,
        target: str | None,
        actor: str,
        *,
        until: datetime | None = None,
        note: str | None = None,
    ) -> Freeze:
        """Let nothing begin any more, of one target or at all, on any node.

        A freeze that is in force already goes on; a new note or end replaces the old one.

        Args:
            target: its name; None for all targets.
            actor: who asks for it.
            until: when it ends by itself; aware.
            note: why, for those who see it.
        """
        scope = scope_of(target)
        async with self._database.transaction() as connection:
            now = await self._lock(connection)
            row = await _row_of(connection, scope)
            former = None if row is None else brake_from(row)
            changed = former is None or not former.is_frozen
            if former is not None and not changed:
                note = former.note if note is None else note
                until = former.thaw_at if until is None else until
            values = {
                "frozen_at": now if changed or former is None else former.frozen_at,
                "frozen_by": actor if changed or former is None else former.frozen_by,
                "note": note,
                "thaw_at": until,
            }
            if changed or former is None or (note, until) != (former.note, former.thaw_at):
                await self._write(connection, scope, now, values)
                entry = AuditEntry(Action.FREEZE_BEGUN, "brake", scope, actor=actor, note=note)
                await record_in_transaction(connection, entry)
            transaction = await connection.scalar(
                sa.select(sa.cast(sa.func.pg_current_xact_id(), sa.Text))
            )
            row = await _row_of(connection, scope)
        return Freeze(brake_from(row), changed, str(transaction))

    async def thaw(
        self,
        target: str | None,
        actor: str,
        *,
        overdue: Overdue = Overdue.HOLD,
        confirm: int | None = None,
        note: str | None = None,
    ) -> Thaw:
        """End a freeze, and say what becomes of the occurrences that came due meanwhile.

        Args:
            target: its name; None for the freeze of everything.
            actor: who asks for it.
            overdue: what becomes of these occurrences.
            confirm: with POLICY, the number of them that may begin at once.
            note: kept in the audit log.

        Raises:
            Conflict: the scope is not frozen.
            ConfirmationRequired: with POLICY, without the number of occurrences that are due.
        """
        scope = scope_of(target)
        async with self._database.transaction() as connection:
            now = await self._lock(connection)
            row = await _row_of(connection, scope)
            if row is None or row.frozen_at is None:
                raise Conflict(f"{scope} is not frozen", message="Not frozen")
            waiting = await _count_due(connection, target, now)
            if overdue is Overdue.POLICY:
                require_confirmation(waiting, confirm, "starts")
            await self._end(connection, row, now, now, overdue, actor, note)
        return Thaw(scope, overdue, waiting)

    async def thaw_ended(self) -> list[Thaw]:
        """End the freezes whose time is over; what came due during them is held."""
        ended = []
        async with self._database.transaction() as connection:
            now = await self._lock(connection)
            over = sa.select(brakes).where(brakes.c.thaw_at <= now)
            for row in (await connection.execute(over)).all():
                waiting = await _count_due(connection, brake_from(row).target, now)
                # What came due after its time is not of the freeze.
                await self._end(connection, row, now, row.thaw_at, Overdue.HOLD, "until", None)
                ended.append(Thaw(row.scope, Overdue.HOLD, waiting))
        return ended

    async def _end(
        self,
        connection: AsyncConnection,
        row: Any,
        now: datetime,
        before: datetime,
        overdue: Overdue,
        actor: str,
        note: str | None,
    ) -> None:
        values: dict[str, Any] = dict.fromkeys(("frozen_at", "frozen_by", "note", "thaw_at"))
        if overdue is not Overdue.POLICY:
            cause = HELD_CAUSE if overdue is Overdue.HOLD else MISSED_CAUSE
            values |= mark_values(row, row.frozen_at, before, overdue, cause)
        await self._write(connection, row.scope, now, values)
        text = f"overdue: {overdue}{f'; {note}' if note else ''}"
        entry = AuditEntry(Action.FREEZE_ENDED, "brake", row.scope, actor=actor, note=text)
        await record_in_transaction(connection, entry)

    async def _lock(self, connection: AsyncConnection) -> datetime:
        """Lock the brakes against other changes; return the present.

        So ``changed_at`` grows with every commit, and one look at its maximum finds every change.
        """
        await connection.execute(sa.text("LOCK TABLE brakes IN SHARE ROW EXCLUSIVE MODE"))
        now = self.now or await connection.scalar(sa.select(sa.func.clock_timestamp()))
        assert now is not None
        return now

    async def _write(
        self, connection: AsyncConnection, scope: str, now: datetime, values: dict[str, Any]
    ) -> None:
        tick = sa.func.make_interval(0, 0, 0, 0, 0, 0, 0.000001)
        statement = insert(brakes).values(
            scope=scope, changed_at=sa.func.greatest(now, _LAST_CHANGE + tick), **values
        )
        names = (*values, "changed_at")
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=["scope"], set_={name: statement.excluded[name] for name in names}
            )
        )
        # The nodes look for work at once, and find the change.
        await notify_nodes(connection)


async def read_brakes(connection: AsyncConnection) -> Brakes:
    """Return all brakes, in the transaction of a connection."""
    rows = (await connection.execute(sa.select(brakes))).all()
    return Brakes([brake_from(row) for row in rows])


async def require_not_frozen(connection: AsyncConnection, *targets: str) -> None:
    """Refuse to begin a run while one of its targets is frozen. Raises Frozen."""
    found = await read_brakes(connection)
    for target in targets:
        if (brake := found.freeze_of(target)) is not None:
            raise Frozen(brake)


def brake_from(row: Any) -> Brake:
    """Return the Brake that a row holds."""
    mark = None
    if row.overdue_since is not None:
        status = "held" if row.overdue_action == "hold" else "missed"
        mark = Mark(row.overdue_since, row.overdue_before, status, row.overdue_cause)
    return Brake(
        row.scope, row.changed_at, row.frozen_at, row.frozen_by, row.note, row.thaw_at, mark
    )


def mark_values(
    row: Any, since: datetime, before: datetime, overdue: Overdue, cause: str
) -> dict[str, Any]:
    """Return the columns of a mark, widened by the one that the row has; the new one wins."""
    if row is not None and row.overdue_since is not None:
        since, before = min(since, row.overdue_since), max(before, row.overdue_before)
    return {
        "overdue_since": since,
        "overdue_before": before,
        "overdue_action": overdue.value,
        "overdue_cause": cause,
    }


async def _row_of(connection: AsyncConnection, scope: str) -> Any:
    found = await connection.execute(sa.select(brakes).where(brakes.c.scope == scope))
    return found.one_or_none()


async def _count_due(connection: AsyncConnection, target: str | None, now: datetime) -> int:
    """Count the occurrences that are due, of one target or of all."""
    due = (
        sa.select(sa.func.count())
        .select_from(timers.join(campaigns, campaigns.c.id == timers.c.campaign_id))
        .where(timers.c.kind == "fire", timers.c.fire_at <= now, campaigns.c.status.in_(_LIVE))
    )
    if target is not None:
        due = due.where(campaigns.c.target == target)
    return await connection.scalar(due) or 0
