"""What the cluster asks of the database, and what it reports to the daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from daemon.domain.run.attempt import ReclaimedRun


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node publishes about itself in ``nodes``."""

    name: str
    host: str
    pid: int
    version: str
    tzdata: str
    tag: str
    """Six hexadecimal digits of this process; the names of its database sessions carry them too."""


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """The answer to a heartbeat."""

    now: datetime
    """The server's clock."""
    others: list[str]
    """The other live nodes."""
    lost: list[str]
    """Nodes whose lease has ended."""
    brakes_at: datetime | None = None
    """The last change of the brakes."""
    resumes: Mapping[str, str] = field(default_factory=dict)
    """Instant at which an operator last resumed each target, as text."""


class NodeStore(Protocol):
    """The nodes registered on one database."""

    async def register(self, node: str, info: NodeInfo, *, lease: float) -> datetime:
        """Register a node with a lease in seconds; return the server's instant."""
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
        applied_to: str | None = None,
        targets: str | None = None,
    ) -> HeartbeatReply | None:
        """Renew the lease; return None when another node has replaced this one.

        Args:
            applied_to: the snapshot of the last look for work whose changes this node obeys.
            targets: the state of the node's targets as JSON; None leaves it as it is.
        """
        ...

    async def end_sessions(self, lost_node: str) -> list[str]:
        """End a lost node's database sessions; return the roles whose sessions cannot be ended."""
        ...

    def take_over(
        self, node: str, lost_node: str, hold_targets: Sequence[str]
    ) -> AsyncIterator[list[ReclaimedRun]]:
        """Reclaim every run of a lost node, a batch at a time, then delete the node."""
        ...

    async def retire(self, node: str) -> None:
        """Delete a node that stops; with runs in flight its row stays until its lease ends."""
        ...


class PublishedTargets(Protocol):
    """The targets of this node, as far as other nodes and operators see them."""

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Return the state of each target."""
        ...

    def apply_resumes(self, resumes: Mapping[str, str]) -> None:
        """Close the circuits of targets that an operator has resumed. Never blocks."""
        ...


class ClusterListener(Protocol):
    """The daemon, as far as the cluster reports to it. No method blocks."""

    def on_registered(self) -> None:
        """This node has a new identity; runs of a former identity belong to other nodes."""
        ...

    def on_shards_changed(self) -> None:
        """This node looks after other shards."""
        ...

    def on_clock_adjusted(self) -> None:
        """The skew between this machine's clock and the database's was measured anew."""
        ...

    def on_lease_renewed(self) -> None:
        """This node holds its lease again, after it had lapsed."""
        ...

    def on_brakes_seen(self, changed_at: datetime | None) -> None:
        """The last change of the brakes, as of the last heartbeat."""
        ...

    def on_nodes_lost(self, nodes: Sequence[str]) -> None:
        """The leases of these nodes have ended, as of the last heartbeat."""
        ...


class RunsListener(Protocol):
    """The timer, as far as the cluster reports to it."""

    def on_runs_available(self) -> None:
        """Runs of a lost node are due again. Never blocks."""
        ...
