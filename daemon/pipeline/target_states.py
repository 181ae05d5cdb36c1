"""What this node publishes about its targets, and what operators tell it about them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from daemon.domain.formatting import instant_text
from daemon.domain.run.in_flight import InFlight
from daemon.domain.run.target_state import CircuitState
from daemon.pipeline.target_pools import TargetPools
from daemon.runtime.clock import DatabaseClock


class TargetStates:
    """The states of the targets of a pipeline.

    Args:
        pools: the pools of the targets.
        in_flight: the attempts of this node.
        clock: the database's clock.
    """

    def __init__(self, pools: TargetPools, in_flight: InFlight, clock: DatabaseClock) -> None:
        self._pools = pools
        self._in_flight = in_flight
        self._clock = clock
        self._paused_until: dict[str, tuple[int, datetime]] = {}
        self._resumes: dict[str, str] | None = None

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Return the state of each target, as ``nodes.targets`` holds it."""
        return {
            pool.name: {
                "circuit": pool.breaker.state,
                "paused_until": instant_text(self._until(pool.name)),
                "error": pool.breaker.error,
                "queue": pool.due,
                "in_flight": self._in_flight.count(pool.name),
            }
            for pool in self._pools
        }

    def _until(self, name: str) -> datetime | None:
        """Return when the pause of a target ends; the same instant during the whole pause."""
        breaker = self._pools.of(name).breaker
        if breaker.state is not CircuitState.OPEN:
            return None
        known = self._paused_until.get(name)
        if known is None or known[0] != breaker.openings:
            until = self._clock.now() + timedelta(seconds=breaker.pause_left)
            known = self._paused_until[name] = breaker.openings, until.replace(microsecond=0)
        return known[1]

    def apply_resumes(self, resumes: Mapping[str, str]) -> None:
        """Close the circuits of targets that an operator has resumed since the last call.

        Args:
            resumes: the instant of the latest resumption of each target, as text.
        """
        former, self._resumes = self._resumes, dict(resumes)
        if former is None:
            return  # those of the time before this node
        names = {pool.name for pool in self._pools}
        for name, at in resumes.items():
            if former.get(name) != at and name in names:
                self._pools.of(name).breaker.close()
