"""The heartbeat: renews this node's lease, finds the live nodes, and measures the clock skew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from daemon.cluster.store import (
    ClusterListener,
    HeartbeatReply,
    NodeInfo,
    NodeStore,
    PublishedTargets,
)
from daemon.domain.errors import Unavailable
from daemon.domain.ports import Clock, Emit
from daemon.domain.run.in_flight import InFlight
from daemon.domain.sharding import shards_of
from daemon.runtime.clock import DatabaseClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.service import Service


class Heartbeat(Service):
    """Registers this node, renews its lease, and keeps its identity up to date.

    The identity is new at every start, and whenever another node has replaced this one. That is the
    fence: a write under a former identity is refused.

    Args:
        store: the registered nodes.
        info: what this node publishes about itself.
        node: this node's identity, which the heartbeat writes.
        listener: the daemon.
        in_flight: whose oldest claim the heartbeat publishes.
        targets: whose state the heartbeat publishes when it has changed.
        lease: seconds that the lease holds after a heartbeat.
        every: seconds between heartbeats.
        applied_to: returns the snapshot of the last look for work whose changes are obeyed.
    """

    name = "heartbeat"

    def __init__(
        self,
        store: NodeStore,
        info: NodeInfo,
        node: NodeIdentity,
        listener: ClusterListener,
        *,
        in_flight: InFlight,
        targets: PublishedTargets,
        lease: float,
        every: float,
        clock: Clock,
        database_clock: DatabaseClock,
        health: DatabaseHealth,
        emit: Emit,
        applied_to: Callable[[], str | None] = lambda: None,
    ) -> None:
        super().__init__()
        self._store = store
        self._info = info
        self._node = node
        self._listener = listener
        self._in_flight = in_flight
        self._targets = targets
        self._published = ""
        self._lease = lease
        self._every = every
        self._clock = clock
        self._database_clock = database_clock
        self._health = health
        self._emit = emit
        self._applied_to = applied_to
        self._early = asyncio.Event()
        self._others: list[str] | None = None
        self._registrations = 0
        self._draining = False

    async def prepare(self) -> None:
        """Register and beat once, before anything is loaded."""
        await self._register_node()
        await self._renew_lease()

    async def run(self) -> None:
        """Beat until asked to stop."""
        while not await self._wait_for_turn():
            try:
                await self._renew_lease()
            except Unavailable as error:
                await self._health.failed(self, error)
            else:
                self._health.succeeded(self)

    def beat_early(self) -> None:
        """Beat now: a client waits for what the heartbeat publishes. Never blocks."""
        self._early.set()

    async def _wait_for_turn(self) -> bool:
        """Wait for the next heartbeat; return True when asked to stop."""
        waits = [asyncio.ensure_future(each.wait()) for each in (self.stopping, self._early)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=self._every)
        finally:
            for wait in waits:
                wait.cancel()
        self._early.clear()
        return self.stopping.is_set()

    async def leave(self) -> None:
        """Retire this node; runs still in flight are reclaimed when its lease ends."""
        async with self._limit_to_lease():
            await self._store.retire(self._node.id)

    async def drain(self) -> None:
        """Make the other nodes take this node's shards."""
        self._draining = True
        await self._renew_lease()

    async def _register_node(self) -> None:
        self._registrations += 1
        again = f"-{self._registrations}" if self._registrations > 1 else ""
        node_id, began = f"{self._info.name}-{self._info.tag}{again}", self._clock.monotonic()
        async with self._limit_to_lease():
            await self._store.register(node_id, self._info, lease=self._lease)
        self._others = None
        self._published = ""
        self._node.id = node_id
        self._node.extend_lease(began + self._lease)
        self._listener.on_registered()

    async def _renew_lease(self) -> None:
        before, began = self._clock.now(), self._clock.monotonic()
        estimated = self._database_clock.now()
        targets = json.dumps(self._targets.snapshot(), sort_keys=True)
        async with self._limit_to_lease():
            reply = await self._store.beat(
                self._node.id,
                lease=self._lease,
                oldest_claim_at=self._in_flight.oldest_claim_at(),
                skew_ms=round(self._database_clock.skew.total_seconds() * 1000),
                shards=len(self._node.shards),
                draining=self._draining,
                applied_to=self._applied_to(),
                targets=None if targets == self._published else targets,
            )
        if reply is None:
            self._emit("node_replaced", node=self._node.id)
            await self._register_node()
            return
        self._published = targets
        self._targets.apply_resumes(reply.resumes)
        had_lapsed = not self._node.holds_lease()
        self._node.extend_lease(began + self._lease)
        if had_lapsed:
            self._listener.on_lease_renewed()
        took = timedelta(seconds=self._clock.monotonic() - began)
        self._measure_skew(reply.now - before, reply.now - estimated, took)
        self._reassign_shards(reply)
        self._listener.on_brakes_seen(reply.brakes_at)
        self._listener.on_nodes_lost(reply.lost)

    @asynccontextmanager
    async def _limit_to_lease(self) -> AsyncIterator[None]:
        """Fail a statement that is not answered within the lease, whatever its connection says."""
        try:
            async with asyncio.timeout(self._lease):
                yield
        except TimeoutError as error:
            raise Unavailable(f"no answer within {self._lease:g} s") from error

    def _measure_skew(self, difference: timedelta, estimate: timedelta, took: timedelta) -> None:
        """Measure the skew; the server read its clock somewhere within the round trip.

        So the measurement is off by half of the round trip at most. The skew may be the same
        although the estimated clock is wrong: when the wall clock was set and set back, or when
        monotonic time stood still, as in a suspended machine.
        """
        half = took / 2
        skew, former = difference - half, self._database_clock.skew
        if abs(skew - former) <= half and abs(estimate - half) <= half:
            return  # the same, as far as this measurement shows
        if abs(skew - former) > timedelta(seconds=1):
            self._emit(
                "clock_skew",
                skew_ms=round(skew.total_seconds() * 1000),
                was_ms=round(former.total_seconds() * 1000),
            )
        self._database_clock.set_skew(skew)
        self._listener.on_clock_adjusted()

    def _reassign_shards(self, reply: HeartbeatReply) -> None:
        if reply.others == self._others:
            return
        self._others = reply.others
        former, self._node.shards = self._node.shards, shards_of(self._node.id, reply.others)
        self._emit("shards_reassigned", nodes=len(reply.others) + 1, shards=len(self._node.shards))
        if self._node.shards != former:
            self._listener.on_shards_changed()
