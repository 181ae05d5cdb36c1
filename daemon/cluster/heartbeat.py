"""This node's place among the others: its lease, its share, and who is lost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.cluster.store import HeartbeatReply, NodeStore
from daemon.domain.errors import Unavailable
from daemon.domain.ports import Clock, Emit
from daemon.domain.sharding import shards_of
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node says of itself."""

    name: str
    host: str
    pid: int
    version: str
    tzdata: str
    tag: str
    """Six hexadecimal digits of this process; its database sessions carry them too."""


class Heartbeat(Service):
    """Renews the lease; learns who is alive, who is lost, and how far the clocks differ.

    The identity is new at every start, and whenever the node finds that its place was taken: that
    is the fence. Whatever a former identity still tries to write names it, and is refused.
    """

    name = "membership"

    def __init__(
        self,
        store: NodeStore,
        me: NodeInfo,
        *,
        lease: float,
        every: float,
        clock: Clock,
        link: DatabaseHealth,
        emit: Emit,
        on_identity: Callable[[str], None],
        on_share: Callable[[tuple[int, ...]], None],
        on_skew: Callable[[timedelta], None],
        database_now: Callable[[], datetime],
        on_lost: Callable[[Sequence[str]], None],
        on_lease: Callable[[], None],
        oldest_claim_at: Callable[[], datetime | None],
    ) -> None:
        super().__init__()
        self._store = store
        self._me = me
        self._lease = lease
        self._every = every
        self._clock = clock
        self._link = link
        self._emit = emit
        self._on_identity = on_identity
        self._on_share = on_share
        self._on_skew = on_skew
        self._database_now = database_now
        self._on_lost = on_lost
        self._on_lease = on_lease
        self._oldest_claim_at = oldest_claim_at
        self._shares: tuple[int, ...] = ()
        self._others: list[str] | None = None
        self._held_until = -math.inf
        self._places = 0
        self.node = ""
        self.skew = timedelta(0)
        self.draining = False

    async def prepare(self) -> None:
        """Take a place and learn the rest, before anything is loaded."""
        await self._register()
        await self._beat()

    async def run(self) -> None:
        """Beat until asked to stop."""
        while not await self.pause(self._every):
            try:
                await self._beat()
            except Unavailable as error:
                await self._link.failed(self, error)
            else:
                self._link.ok(self)

    def holds_lease(self) -> bool:
        """Whether nobody else can have taken this node's runs yet; reckoned on the safe side."""
        return self._clock.monotonic() < self._held_until

    async def leave(self) -> None:
        """Give up the place; what is still in hand goes when the lease ends."""
        async with self._in_time():
            await self._store.retire(self.node)

    async def drain(self) -> None:
        """Tell the others to take this node's share."""
        self.draining = True
        await self._beat()

    async def _register(self) -> None:
        self._places += 1
        again = f"-{self._places}" if self._places > 1 else ""
        node, began = f"{self._me.name}-{self._me.tag}{again}", self._clock.monotonic()
        async with self._in_time():
            await self._store.register(
                node,
                name=self._me.name,
                host=self._me.host,
                pid=self._me.pid,
                version=self._me.version,
                tzdata=self._me.tzdata,
                lease=self._lease,
            )
        self.node = node
        self._others = None
        self._held_until = began + self._lease
        self._on_identity(self.node)

    async def _beat(self) -> None:
        before, began = self._clock.now(), self._clock.monotonic()
        reckoned = self._database_now()
        async with self._in_time():
            beat = await self._store.beat(
                self.node,
                lease=self._lease,
                oldest_claim_at=self._oldest_claim_at(),
                skew_ms=round(self.skew.total_seconds() * 1000),
                shards=len(self._shares),
                draining=self.draining,
            )
        if beat is None:
            self._emit("node_replaced", node=self.node)
            await self._register()
            return
        had_lapsed = not self.holds_lease()
        self._held_until = began + self._lease
        if had_lapsed:
            self._on_lease()
        took = timedelta(seconds=self._clock.monotonic() - began)
        self._measure(beat.now - before, beat.now - reckoned, took)
        self._share(beat)
        self._on_lost(beat.lost)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """What is not answered within the lease failed, whatever its connection says."""
        try:
            async with asyncio.timeout(self._lease):
                yield
        except TimeoutError as error:
            raise Unavailable(f"no answer within {self._lease:g} s") from error

    def _measure(self, difference: timedelta, reckoning: timedelta, took: timedelta) -> None:
        """The server read its clock somewhere within the round trip: off by half of it at most.

        The skew may be the same although what is reckoned from it is wrong: when the wall clock was
        set and set back, or monotonic time stood still, as in a machine that was suspended.
        """
        half = took / 2
        skew = difference - half
        if abs(skew - self.skew) <= half and abs(reckoning - half) <= half:
            return  # the same, as far as this measurement can tell
        if abs(skew - self.skew) > timedelta(seconds=1):
            self._emit(
                "clock_skew",
                skew_ms=round(skew.total_seconds() * 1000),
                was_ms=round(self.skew.total_seconds() * 1000),
            )
        self.skew = skew
        self._on_skew(skew)

    def _share(self, beat: HeartbeatReply) -> None:
        if beat.others == self._others:
            return
        self._others = beat.others
        self._shares = shards_of(self.node, beat.others)
        self._emit("shards_reassigned", nodes=len(beat.others) + 1, shards=len(self._shares))
        self._on_share(self._shares)
