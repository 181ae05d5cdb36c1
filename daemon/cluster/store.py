"""What the cluster asks of the database: registration, heartbeat, rescue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from daemon.domain.run.attempt import ReclaimedRun


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """The answer to a heartbeat."""

    now: datetime
    """The server's clock."""
    others: list[str]
    """The other live nodes."""
    lost: list[str]
    """Nodes whose lease has ended."""


class NodeStore(Protocol):
    """The daemons at work on one database."""

    async def register(
        self,
        node: str,
        *,
        name: str,
        host: str,
        pid: int,
        version: str,
        tzdata: str,
        lease: float,
    ) -> datetime:
        """Take a place; the database's instant."""
        ...

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
        """Renew the lease; None when the node's place is gone."""
        ...

    def take_over(self, node: str, dead_node: str) -> AsyncIterator[list[ReclaimedRun]]:
        """Free every run that a lost node held, a batch at a time, then forget it."""
        ...

    async def retire(self, node: str) -> None:
        """Leave in good order."""
        ...
