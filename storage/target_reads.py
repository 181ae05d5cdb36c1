"""The state of targets: what the nodes publish, and the runs of the last hour."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from daemon.domain.audit import Action, AuditEntry
from daemon.domain.run.target_state import CircuitState, TargetOnNode, TargetState
from storage.audit_log import record_in_transaction
from storage.engine import Database
from storage.notice import notify_nodes
from storage.tables import nodes, target_resumes

COUNTED_RUNS = 10_000
"""Maximum runs of the last hour that are counted; those of a burst may be many more."""


class TargetReads:
    """The targets of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def states(self, names: Collection[str]) -> list[TargetState]:
        """Return the states of targets, in the order of their names."""
        on_nodes = await self._database.rows(
            sa.select(nodes.c.name, nodes.c.targets).where(
                nodes.c.lease_until > sa.func.clock_timestamp()
            )
        )
        counted = await self._database.rows("count_runs_of_targets", max_rows=COUNTED_RUNS)
        by_target = {row.target: row for row in counted}
        counted_all = sum(row.runs for row in counted) < COUNTED_RUNS
        return [
            TargetState(
                name=name,
                nodes=targets_on_nodes(on_nodes, name),
                completed=row.completed if (row := by_target.get(name)) else 0,
                failed=row.failed if row else 0,
                mean_seconds=row.mean_seconds if row else None,
                slowest_seconds=row.slowest_seconds if row else None,
                counted_all=counted_all,
            )
            for name in sorted(names)
        ]

    async def resume(self, name: str, actor: str) -> None:
        """Tell every node to close its circuit of a target."""
        at = sa.func.clock_timestamp()
        upsert = insert(target_resumes).values(target=name, resumed_at=at)
        upsert = upsert.on_conflict_do_update(
            index_elements=["target"], set_={"resumed_at": upsert.excluded.resumed_at}
        )
        async with self._database.transaction() as connection:
            await connection.execute(upsert)
            entry = AuditEntry(Action.TARGET_RESUMED, "target", name, name, actor=actor)
            await record_in_transaction(connection, entry)
            # No campaign has changed; the notification is for the heartbeats.
            await notify_nodes(connection)


def targets_on_nodes(rows: Sequence[Any], target: str) -> list[TargetOnNode]:
    """Return a target as the rows of nodes have it, in the order of the nodes' names."""
    return [
        _target_on_node(node.name, node.targets[target])
        for node in sorted(rows, key=lambda node: str(node.name))
        if target in (node.targets or {})
    ]


def _target_on_node(node: str, state: Mapping[str, Any]) -> TargetOnNode:
    until = state["paused_until"]
    return TargetOnNode(
        node=node,
        circuit=CircuitState(state["circuit"]),
        paused_until=None if until is None else datetime.fromisoformat(until),
        error=state["error"],
        queue=state["queue"],
        in_flight=state["in_flight"],
    )
