"""Claims that the database may have carried out although their answer was lost on the way.

Such a run is this node's by what the database says, and nobody has it in hand: as long as the node
lives, no lease of it ends. So after every claim that failed the node asks what it is said to hold,
and gives back what it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from daemon.domain.ports import Clock, Emit
from daemon.pipeline.store import PipelineStore
from daemon.pipeline.target_pool import TargetPool

LOOK_EVERY_S = 1.0
LOOKED_FOR_S = 10.0
"""A claim may still be on its way to the server when its connection is given up here."""
MARGIN = timedelta(seconds=60)
"""A claim's instant may be a little before the moment when it was found to have failed."""


class ClaimReconciler:
    """Asked by the claimer, between claims: what it looks at is then not about to change.

    Args:
        lanes: what this node has in hand.
        on_freed: told when runs are due again.
    """

    def __init__(
        self,
        store: PipelineStore,
        *,
        lanes: Callable[[], Iterable[TargetPool]],
        database_now: Callable[[], datetime],
        on_freed: Callable[[], None],
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._store = store
        self._lanes = lanes
        self._database_now = database_now
        self._on_freed = on_freed
        self._clock = clock
        self._emit = emit
        self._since: datetime | None = None
        self._failed_at = self._looked_at = 0.0

    def suspect(self, began: datetime) -> None:
        """A claim failed that began then, by the server's clock; nobody knows what came of it."""
        self._failed_at = self._clock.monotonic()
        if self._since is None:
            self._since = began - MARGIN
            self._looked_at = self._failed_at - LOOK_EVERY_S

    @property
    def due_in(self) -> float | None:
        """Seconds until the next look; None if nothing is suspected."""
        if self._since is None:
            return None
        return max(0.0, self._looked_at + LOOK_EVERY_S - self._clock.monotonic())

    async def look(self) -> None:
        """Give back what was claimed unheard. Raises Unavailable."""
        if self._since is None:
            return
        self._looked_at = self._clock.monotonic()
        in_flight = {key for lane in self._lanes() for key in lane.in_flight}
        released, is_all = await self._store.release_unacknowledged(in_flight, self._since)
        if released:
            self._emit("unacknowledged_claims_released", count=released)
            self._on_freed()
        if is_all and self._clock.monotonic() - self._failed_at > LOOKED_FOR_S:
            self._since = None
