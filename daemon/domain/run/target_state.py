"""The state of a target on one node, and on all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class CircuitState(StrEnum):
    """State of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class TargetOnNode:
    """A target as one node sees it."""

    node: str
    circuit: CircuitState
    paused_until: datetime | None
    """Instant of the next probe, while the circuit is open."""
    error: str | None
    """Why the circuit opened; None while it is closed."""
    queue: int
    """Events that are due and not claimed."""
    in_flight: int
    """Runs claimed whose outcome is not written."""


@dataclass(frozen=True, slots=True)
class TargetState:
    """A configured target, with its runs of the last hour."""

    name: str
    nodes: Sequence[TargetOnNode]
    completed: int
    failed: int
    mean_seconds: float | None
    """Mean time from a run's first attempt to its completion; None without a completed run."""
    slowest_seconds: float | None
    counted_all: bool
    """False when the last hour has more runs than are counted; then the newest are."""

    @property
    def circuit(self) -> CircuitState:
        """The worst state on any node."""
        states = {each.circuit for each in self.nodes}
        return next(
            (state for state in (CircuitState.OPEN, CircuitState.HALF_OPEN) if state in states),
            CircuitState.CLOSED,
        )

    @property
    def worst(self) -> TargetOnNode | None:
        """The target on the node that explains `circuit`; None while all are closed."""
        return worst_of(self.nodes)


def worst_of(nodes: Sequence[TargetOnNode]) -> TargetOnNode | None:
    """Return the node that is paused for longest, else one that probes; None without either."""
    paused = [each for each in nodes if each.circuit is CircuitState.OPEN]
    probing = [each for each in nodes if each.circuit is CircuitState.HALF_OPEN]
    until = datetime.min.replace(tzinfo=UTC)
    longest = sorted(paused, key=lambda each: each.paused_until or until, reverse=True)
    return next(iter([*longest, *probing]), None)
