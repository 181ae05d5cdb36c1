"""Nodes: their heartbeats and leases, and the reclaiming of a lost node's runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import sqlalchemy as sa

from daemon.cluster.store import HeartbeatReply, NodeInfo
from daemon.domain.run.attempt import ReclaimedRun
from storage.engine import Database, rows_of
from storage.queries import query
from storage.run_rows import reclaimed_from
from storage.schema import HEAD
from storage.tables import nodes

RECLAIM_BATCH = 1000


class Nodes:
    """The nodes of one database."""

    def __init__(self, database: Database, now: datetime | None = None) -> None:
        self._database = database
        self.now = now

    async def register(self, node: str, info: NodeInfo, *, lease: float) -> datetime:
        """Register a node with a lease in seconds; return the database clock."""
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
        (row,) = await self._database.rows("register_node", **binds)
        now: datetime = row.heartbeat_at
        return now

    async def beat(
        self,
        node: str,
        *,
        lease: float,
        oldest_claim_at: datetime | None,
        skew_ms: int = 0,
        shards: int = 0,
        draining: bool = False,
        applied_to: str | None = None,
        targets: str | None = None,
    ) -> HeartbeatReply | None:
        """Renew the lease; return None when another node has replaced this one."""
        binds = {
            "node": node,
            "lease": lease,
            "oldest_claim_at": oldest_claim_at,
            "skew_ms": skew_ms,
            "shards": shards,
            "draining": draining,
            "applied_to": applied_to,
            "targets": targets,
            "now": self.now,
        }
        for row in await self._database.rows("record_heartbeat", **binds):
            return HeartbeatReply(row.now, row.others, row.lost, row.brakes_at, row.resumes or {})
        return None

    async def end_sessions(self, lost_node: str) -> list[str]:
        """End the sessions of a lost node: a frozen process would keep its rows locked.

        Returns:
            The roles of sessions that this node's role may not end.
        """
        rows = await self._database.rows("end_sessions", lost_node=lost_node, now=self.now)
        return [row.role for row in rows if not row.may_end]

    async def take_over(
        self, node: str, lost_node: str, hold_targets: Sequence[str]
    ) -> AsyncIterator[list[ReclaimedRun]]:
        """Reclaim every run of ``lost_node`` in batches, yield each batch, then delete the node.

        The first pass checks the runs claimed since the node's last mark: it is quick, and misses
        only runs that a clock set back could hide. The node is deleted only when it has no run at
        all, which takes a check of every run. Runs of campaigns that another session has locked
        are left to the next call.
        """
        async for reclaimed in self._reclaim_runs(node, lost_node, hold_targets, from_start=False):
            yield reclaimed
        ((has_runs,),) = await self._database.rows("find_in_flight", lost_node=lost_node)
        if has_runs:
            return
        if not await self._delete_node(lost_node):
            async for reclaimed in self._reclaim_runs(
                node, lost_node, hold_targets, from_start=True
            ):
                yield reclaimed
            await self._delete_node(lost_node)

    async def _reclaim_runs(
        self, node: str, lost_node: str, hold_targets: Sequence[str], *, from_start: bool
    ) -> AsyncIterator[list[ReclaimedRun]]:
        binds = {
            "node": node,
            "lost_node": lost_node,
            "from_start": from_start,
            "hold_targets": list(hold_targets),
            "max_rows": RECLAIM_BATCH,
            "now": self.now,
        }
        while True:
            # Without a mark, every run of the node is checked.
            async with self._database.long_transaction() as connection:
                rows = await rows_of(connection, query("reclaim_runs"), **binds)
            yield [reclaimed_from(row) for row in rows]
            if len(rows) < RECLAIM_BATCH:
                return

    async def _delete_node(self, lost_node: str) -> bool:
        """Delete a node without runs; return True also if another session has locked it."""
        binds = {"lost_node": lost_node, "now": self.now}
        async with self._database.long_transaction() as connection:
            locked = await connection.execute(query("lock_lost_node"), binds)
            if locked.one_or_none() is None:
                return True
            # A second statement, so that its snapshot includes a claim that had locked the row.
            return (
                await connection.execute(
                    query("forget_node"), {"lost_node": lost_node, "from_start": True}
                )
            ).one_or_none() is not None

    async def retire(self, node: str) -> None:
        """Deregister the node; its row stays until the lease ends if runs are in flight."""
        async with self._database.transaction() as connection:
            await connection.execute(
                sa.select(nodes.c.id).where(nodes.c.id == node).with_for_update(),
            )
            binds = {"lost_node": node, "from_start": False}
            await connection.execute(query("forget_node"), binds)
