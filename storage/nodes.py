"""Nodes: their leases, who is alive, and taking over what a lost one held."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import sqlalchemy as sa

from daemon.cluster.store import HeartbeatReply, NodeInfo
from daemon.domain.run.attempt import ReclaimedRun
from storage.engine import Database
from storage.queries import query
from storage.runs import taken_from
from storage.schema import HEAD
from storage.tables import nodes

TAKE_OVER_BATCH = 1000


class Nodes:
    """The daemons at work on one database."""

    def __init__(self, database: Database, now: datetime | None = None) -> None:
        self._database = database
        self.now = now

    async def register(self, node: str, info: NodeInfo, *, lease: float) -> datetime:
        """Register a node with a lease in seconds; return the server's instant."""
        binds = {
            "node": node,
            "name": info.name,
            "host": info.host,
            "pid": info.pid,
            "version": info.version,
            "tzdata": info.tzdata,
            "lease": lease,
            "schema_version": HEAD,
            "now": self.now,
        }
        async with self._database.statement() as connection:
            heard: datetime = (await connection.execute(query("register_node"), binds)).scalar_one()
            return heard

    async def beat(
        self,
        node: str,
        *,
        lease: float,
        oldest_claim_at: datetime | None,
        skew_ms: int = 0,
        shards: int = 0,
        draining: bool = False,
    ) -> HeartbeatReply | None:
        """Renew the lease; None when the node's place is gone, taken over by another."""
        binds = {
            "node": node,
            "lease": lease,
            "oldest_claim_at": oldest_claim_at,
            "skew_ms": skew_ms,
            "shards": shards,
            "draining": draining,
            "now": self.now,
        }
        async with self._database.statement() as connection:
            row = (await connection.execute(query("beat_node"), binds)).one_or_none()
        return None if row is None else HeartbeatReply(row.now, row.others, row.lost)

    async def take_over(
        self, node: str, lost_node: str, hold_targets: Sequence[str]
    ) -> AsyncIterator[list[ReclaimedRun]]:
        """Free every run that ``lost_node`` held, then forget it; yields what was just written.

        Its sessions are ended first: a process that stands still in the middle of a transaction
        would keep its rows locked for as long.

        A pass over the runs claimed since its last mark comes first: it is quick, and finds all but
        what a clock set back could hide. The node is forgotten only when no run at all is left,
        which takes a look at all of them; runs of campaigns that somebody holds just now are left
        for the next call.
        """
        async with self._database.statement() as connection:
            binds = {"dead_node": lost_node, "now": self.now}
            await connection.execute(query("end_sessions"), binds)
        async for taken in self._free(node, lost_node, hold_targets, from_start=False):
            yield taken
        async with self._database.statement() as connection:
            found = await connection.execute(query("find_in_flight"), {"dead_node": lost_node})
            if found.scalar_one():
                return
        if not await self._forget(lost_node):
            async for taken in self._free(node, lost_node, hold_targets, from_start=True):
                yield taken
            await self._forget(lost_node)

    async def _free(
        self, node: str, lost_node: str, hold_targets: Sequence[str], *, from_start: bool
    ) -> AsyncIterator[list[ReclaimedRun]]:
        binds = {
            "node": node,
            "dead_node": lost_node,
            "from_start": from_start,
            "hold_targets": list(hold_targets),
            "max_rows": TAKE_OVER_BATCH,
            "now": self.now,
        }
        while True:
            async with self._database.statement() as connection:
                rows = (await connection.execute(query("take_over_runs"), binds)).all()
            yield [taken_from(row) for row in rows]
            if len(rows) < TAKE_OVER_BATCH:
                return

    async def _forget(self, lost_node: str) -> bool:
        """Whether the node is gone (or in somebody else's hands)."""
        binds = {"dead_node": lost_node, "now": self.now}
        async with self._database.transaction() as connection:
            locked = await connection.execute(query("lock_lost_node"), binds)
            if locked.one_or_none() is None:
                return True
            # A statement of its own: a claim that held the row is in its snapshot.
            return (
                await connection.execute(
                    query("forget_node"), {"dead_node": lost_node, "from_start": True}
                )
            ).one_or_none() is not None

    async def retire(self, node: str) -> None:
        """Leave in good order; the row stays for its lease if runs are still in hand."""
        async with self._database.transaction() as connection:
            await connection.execute(
                sa.select(nodes.c.id).where(nodes.c.id == node).with_for_update(),
            )
            binds = {"dead_node": node, "from_start": False}
            await connection.execute(query("forget_node"), binds)
