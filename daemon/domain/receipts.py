"""The answer to the question which nodes obey a change already."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class NodeReceipt:
    """Whether a live node obeys a change, and after how many seconds it was seen to."""

    node: str
    applied: bool
    heartbeat_at: datetime
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The live nodes, as far as they obey a change."""

    nodes: list[NodeReceipt]
    waited: float
    """Seconds."""

    @property
    def is_complete(self) -> bool:
        """Whether every live node obeys it; also if there is none."""
        return all(each.applied for each in self.nodes)
