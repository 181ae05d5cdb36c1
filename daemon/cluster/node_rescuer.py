"""Reclaims the runs of lost nodes, beside the heartbeat, so that this node is not the next lost."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.cluster.store import NodeStore, RunsListener
from daemon.domain.ports import Emit
from daemon.domain.run.log_events import emit_held
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.polling_service import PollingService


class NodeRescuer(PollingService):
    """Takes over from the nodes that the heartbeat found lost, one after the other.

    Args:
        store: the registered nodes.
        node: this node's identity.
        listener: the timer, which loads the reclaimed runs.
    """

    name = "node_rescuer"

    def __init__(
        self,
        store: NodeStore,
        node: NodeIdentity,
        listener: RunsListener,
        *,
        health: DatabaseHealth,
        emit: Emit,
    ) -> None:
        super().__init__(health, every=None)
        self._store = store
        self._node = node
        self._listener = listener
        self._emit = emit
        self._lost: Sequence[str] = ()
        self._logged: set[str] = set()
        """Lost nodes already logged; one that is still there has runs in locked campaigns."""

    def enqueue_lost_nodes(self, nodes: Sequence[str]) -> None:
        """Take over from these nodes, whose leases have ended. Never blocks."""
        self._lost = nodes
        self._logged &= set(nodes)
        if nodes:
            self.wake()

    async def run_once(self) -> None:
        """Take over from every lost node. Raises Unavailable."""
        for lost_node in self._lost:
            await self._take_over(lost_node)

    async def _take_over(self, lost_node: str) -> None:
        is_new = lost_node not in self._logged
        for role in await self._store.end_sessions(lost_node):
            if is_new:
                self._emit("sessions_not_ended", lost_node=lost_node, role=role)
        count = 0
        async for reclaimed in self._store.take_over(
            self._node.id, lost_node, self._node.hold_targets
        ):
            count += len(reclaimed)
            emit_held(self._emit, reclaimed)
            self._listener.on_runs_available()
        if count or is_new:
            self._emit("node_lost", lost_node=lost_node, runs_taken_over=count)
        self._logged.add(lost_node)
