"""Gauges of what is stored, read from the database at a scrape: freezes and held runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from daemon.domain.brakes import NO_BRAKES, Brakes
from daemon.domain.errors import Unavailable
from daemon.domain.run.held import HeldReason
from daemon.telemetry.metrics import Metrics

TIMEOUT_S = 1.0
"""Seconds that a scrape waits for the database; without its answer these gauges have no series."""
FRESH_S = 1.0
"""Seconds for which an answer serves further scrapes."""


class StoredGauges:
    """Renders the metrics of a process, with the gauges of what is stored.

    Args:
        metrics: the metrics.
        brakes: reads the brakes.
        held: counts the held runs by reason.
    """

    def __init__(
        self,
        metrics: Metrics,
        brakes: Callable[[], Awaitable[Brakes]],
        held: Callable[[], Awaitable[Mapping[HeldReason, int]]],
    ) -> None:
        self._metrics = metrics
        self._read_brakes = brakes
        self._read_held = held
        self._read_at: float | None = None
        self._brakes = NO_BRAKES
        self._held: Mapping[HeldReason, int] = {}
        metrics.add_labelled_gauge(
            "frozen", "1 while this scope is frozen.", ["scope"], self._frozen_by_scope
        )
        metrics.add_labelled_gauge(
            "frozen_since_timestamp_seconds",
            "When the freeze of this scope began; no value without one.",
            ["scope"],
            self._frozen_since_by_scope,
        )
        metrics.add_labelled_gauge(
            "held_runs",
            "Runs that wait for a person, by the reason.",
            ["reason"],
            lambda: {(reason.value,): count for reason, count in self._held.items()},
        )

    async def render(self) -> tuple[bytes, str]:
        """Return the exposition and its media type."""
        now = asyncio.get_running_loop().time()
        if self._read_at is None or now >= self._read_at + FRESH_S:
            self._read_at = now
            await self._read()
        return self._metrics.render()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                self._brakes, self._held = await self._read_brakes(), await self._read_held()
        except (TimeoutError, Unavailable):
            self._brakes, self._held = NO_BRAKES, {}

    def _frozen_by_scope(self) -> dict[tuple[str, ...], float]:
        return {(each.scope,): float(each.is_frozen) for each in self._brakes.brakes}

    def _frozen_since_by_scope(self) -> dict[tuple[str, ...], float]:
        return {
            (each.scope,): each.frozen_at.timestamp()
            for each in self._brakes.frozen
            if each.frozen_at is not None
        }
