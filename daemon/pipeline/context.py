"""What every stage of the pipeline shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from daemon.domain.ports import Clock, Emit
from daemon.domain.run.in_flight import InFlight
from daemon.pipeline.store import PipelineStore, Timer
from daemon.runtime.clock import DatabaseClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.stopwatch import LoopTurn


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineContext:
    """The stores, clocks and state that the claimer, the pools and the completer share."""

    store: PipelineStore
    timer: Timer
    node: NodeIdentity
    clock: Clock
    database_clock: DatabaseClock
    turn: LoopTurn
    health: DatabaseHealth
    emit: Emit
    batch: int
    """Maximum number of runs in one claim or finish statement."""
    in_flight: InFlight = field(default_factory=InFlight)
    on_failed: Callable[[Iterable[int]], None] = lambda _campaign_ids: None
    """Called with the campaigns of runs whose outcome `failed` is written."""
    claims_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when entries are due or a target has room; the claimer waits for it."""
