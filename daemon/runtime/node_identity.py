"""This node's identity in the cluster: one object that the stores and services read."""

from __future__ import annotations

import math
from collections.abc import Sequence

from daemon.domain.ports import Clock


class NodeIdentity:
    """Id, shards and lease of this node, and the targets whose unknown outcomes are held.

    The heartbeat sets id, shards and lease; the pipeline sets the targets. Every later write names
    the id, so a write under a former id is refused by the database.
    """

    def __init__(self, clock: Clock, node_id: str = "") -> None:
        self._clock = clock
        self._lease_until = -math.inf
        self.id = node_id
        """Empty until the node is registered for the first time."""
        self.shards: tuple[int, ...] = ()
        """Shards of the schedules that this node looks after."""
        self.hold_targets: Sequence[str] = ()
        """Targets whose runs wait for an operator when the outcome of an attempt is unknown."""

    def holds_lease(self) -> bool:
        """Return whether no other node can have rescued this node's runs yet."""
        return self._clock.monotonic() < self._lease_until

    def extend_lease(self, until: float) -> None:
        """Note that the lease holds until an instant of the monotonic clock."""
        self._lease_until = until
