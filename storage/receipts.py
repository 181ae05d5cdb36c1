"""Which nodes obey a change: each publishes the snapshot of the last look that it obeys."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa

from daemon.domain.receipts import NodeReceipt, Receipt
from storage.engine import Connections
from storage.tables import nodes

POLL_S = 0.02


async def wait_until_applied(database: Connections, transaction: str, seconds: float) -> Receipt:
    """Wait until every live node obeys what a transaction has changed, or the time is over.

    Args:
        database: the database.
        transaction: the id of the committed transaction.
        seconds: how long to wait at most.
    """
    is_visible = sa.func.pg_visible_in_snapshot(
        sa.cast(sa.literal(transaction, sa.Text), _Xid8()), nodes.c.applied_to
    )
    live = (
        sa.select(nodes.c.name, nodes.c.id, nodes.c.heartbeat_at, is_visible.label("applied"))
        .where(nodes.c.lease_until > sa.func.clock_timestamp(), ~nodes.c.draining)
        .order_by(nodes.c.name, nodes.c.id)
    )
    loop = asyncio.get_running_loop()
    began, seen = loop.time(), dict[str, float]()
    while True:
        async with database.statement() as connection:
            rows = (await connection.execute(live)).all()
        waited = loop.time() - began
        for row in rows:
            if row.applied:
                seen.setdefault(row.id, waited)
        if all(row.applied for row in rows) or waited >= seconds:
            found = [
                NodeReceipt(row.name, bool(row.applied), row.heartbeat_at, seen.get(row.id))
                for row in rows
            ]
            return Receipt(found, waited)
        await asyncio.sleep(POLL_S)


class _Xid8(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_options: object) -> str:
        return "xid8"
