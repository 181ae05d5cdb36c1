"""The state of the cluster: nodes, lag, open runs; the content of ``campaignd status``."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.read_models import NodeState, Overview, StatusCounts
from storage.brakes import read_brakes
from storage.engine import Database
from storage.queries import query
from storage.schema import HEAD, UNRECORDED, read_schema_async
from storage.tables import campaigns, nodes, runs


async def read_overview(database: Database) -> Overview:
    """Return the state of the cluster; the cost does not grow with campaigns and runs."""
    async with database.statement() as connection:
        now = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        node_rows = (await connection.execute(sa.select(nodes).order_by(nodes.c.name))).all()
        since = min((row.oldest_claim_at for row in node_rows), default=now)
        # A separate statement, so that it is planned for the actual instant.
        row = (await connection.execute(query("summarise_status"), {"since": since})).one()
        schema = await read_schema_async(connection)
        frozen = (await read_brakes(connection)).frozen if schema.version == HEAD else ()
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
                schema_version=node.schema_version or UNRECORDED,
            )
            for node in node_rows
        ],
        overdue=row.overdue,
        backlog=row.backlog,
        oldest_overdue_at=row.oldest_overdue_at,
        next_event_at=row.next_event_at,
        executing=row.executing,
        retrying=row.retrying,
        queued=row.queued,
        held=row.held,
        failed=row.failed,
        missed=row.missed,
        server_version=row.server_version,
        schema=schema.info(),
        frozen=frozen,
    )


async def count_live_nodes(connection: AsyncConnection, name: str) -> int:
    """Return the number of live nodes with the given name."""
    statement = sa.select(sa.func.count()).where(
        nodes.c.name == name, nodes.c.lease_until > sa.func.clock_timestamp()
    )
    return await connection.scalar(statement) or 0


async def count_by_status(database: Database) -> StatusCounts:
    """Count campaigns and runs by status; reads both tables completely."""
    async with database.statement() as connection:
        by_status = []
        for table in (campaigns, runs):
            grouped = sa.select(table.c.status, sa.func.count()).group_by(table.c.status)
            rows = (await connection.execute(grouped)).all()
            by_status.append({row[0]: row[1] for row in sorted(rows)})
    return StatusCounts(*by_status)
