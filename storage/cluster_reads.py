"""The state of the whole: nodes, lag, open runs. What ``campaignd status`` says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.engine import Database
from storage.queries import query
from storage.schema import UNSAID, Schema, schema_of
from storage.tables import campaigns, nodes, runs


@dataclass(frozen=True, slots=True)
class NodeState:
    """A daemon as its last heartbeat left it; ages are in seconds, by the server's clock."""

    id: str
    name: str
    host: str
    pid: int
    version: str
    tzdata: str
    live: bool
    draining: bool
    started_at: datetime
    heartbeat_age: float
    lease_left: float
    skew_ms: int
    shards: int
    schema_version: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the whole at ``now``, the server's instant.

    ``overdue`` counts due events nobody has claimed yet, ``backlog`` those that wait for the run
    before them. ``executing`` counts runs in the hands of nodes, and those accepted to finish later
    that were claimed since the oldest of these; ``queued`` those about to start.
    """

    now: datetime
    nodes: list[NodeState]
    overdue: int
    backlog: int
    oldest_overdue_at: datetime | None
    next_event_at: datetime | None
    executing: int
    retrying: int
    queued: int
    server_version: str
    schema: Schema

    @property
    def lag(self) -> float:
        """Seconds that the oldest due event has been waiting for a node."""
        if self.oldest_overdue_at is None:
            return 0.0
        return (self.now - self.oldest_overdue_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many campaigns and runs there are, by status."""

    campaigns: dict[str, int]
    runs: dict[str, int]


async def overview(database: Database) -> Overview:
    """The state of the whole; quick however many campaigns and runs there are."""
    async with database.statement() as connection:
        now = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        found = (await connection.execute(sa.select(nodes).order_by(nodes.c.name))).all()
        since = min((row.oldest_claim_at for row in found), default=now)
        # A statement of its own, so that it is planned for the instant that it is given.
        row = (await connection.execute(query("summarise_status"), {"since": since})).one()
        schema = await schema_of(connection)
    return Overview(
        now=row.now,
        nodes=[
            NodeState(
                id=node.id,
                name=node.name,
                host=node.host,
                pid=node.pid,
                version=node.version,
                tzdata=node.tzdata,
                live=node.lease_until > row.now,
                draining=node.draining,
                started_at=node.started_at,
                heartbeat_age=(row.now - node.heartbeat_at).total_seconds(),
                lease_left=(node.lease_until - row.now).total_seconds(),
                skew_ms=node.skew_ms,
                shards=node.shards,
                schema_version=node.schema_version or UNSAID,
            )
            for node in found
        ],
        overdue=row.overdue,
        backlog=row.backlog,
        oldest_overdue_at=row.oldest_overdue_at,
        next_event_at=row.next_event_at,
        executing=row.executing,
        retrying=row.retrying,
        queued=row.queued,
        server_version=row.server_version,
        schema=schema,
    )


async def live_nodes(connection: AsyncConnection, name: str) -> int:
    """How many nodes of that name hold their lease."""
    living = sa.select(sa.func.count()).where(
        nodes.c.name == name, nodes.c.lease_until > sa.func.clock_timestamp()
    )
    return await connection.scalar(living) or 0


async def full_counts(database: Database) -> Counts:
    """Campaigns and runs by status: reads both tables whole."""
    async with database.statement() as connection:
        by_status = []
        for table in (campaigns, runs):
            grouped = sa.select(table.c.status, sa.func.count()).group_by(table.c.status)
            rows = (await connection.execute(grouped)).all()
            by_status.append({row[0]: row[1] for row in sorted(rows)})
    return Counts(*by_status)
