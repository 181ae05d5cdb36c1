"""Frees what lost nodes held, beside the heartbeat: this node must not be the next one lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from daemon.cluster.store import NodeStore
from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.domain.run.log_events import emit_held
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service


class NodeRescuer(Service):
    """Takes over from the nodes that the heartbeat found lost, one after the other.

    Args:
        node: this node's identity.
        on_freed: told when runs are due again.
    """

    name = "take_over"

    def __init__(
        self,
        store: NodeStore,
        *,
        node: Callable[[], str],
        link: DatabaseHealth,
        emit: Emit,
        on_freed: Callable[[], None],
    ) -> None:
        super().__init__()
        self._store = store
        self._node = node
        self._link = link
        self._emit = emit
        self._on_freed = on_freed
        self._lost: Sequence[str] = ()
        self._told: set[str] = set()
        """One that is still there later has runs whose campaign somebody holds."""
        self._wake = asyncio.Event()

    def lost(self, nodes: Sequence[str]) -> None:
        """The leases of these have ended, as of the last heartbeat. Never blocks."""
        self._lost = nodes
        self._told &= set(nodes)
        if nodes:
            self._wake.set()

    async def run(self) -> None:
        """Take over until asked to stop."""
        while not self.stopping.is_set():
            await self._wake.wait()
            self._wake.clear()
            try:
                for lost in self._lost:
                    await self._take_over(lost)
            except Unavailable as error:
                await self._link.failed(self, error)
            else:
                self._link.ok(self)

    async def stop(self, grace: float | None = None) -> None:
        """Take over no more; the other nodes do, and this one at its next start."""
        self.stopping.set()
        self._wake.set()
        await super().stop(grace)

    async def _take_over(self, lost: str) -> None:
        freed = 0
        async for taken in self._store.take_over(self._node(), lost):
            freed += len(taken)
            emit_held(self._emit, taken)
            self._on_freed()
        if freed or lost not in self._told:
            self._emit("node_lost", lost_node=lost, runs_taken_over=freed)
        self._told.add(lost)
