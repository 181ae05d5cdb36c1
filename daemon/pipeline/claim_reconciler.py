"""Reconciles claims whose reply was lost: the database may have carried them out.

Such a run belongs to this node in the database, but the node does not have it in flight. As long as
the node lives, no lease of the run ends. So after every failed claim the node compares the runs
that the database lists as its own with those in flight, and releases the others.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from daemon.pipeline.context import PipelineContext

RECONCILE_EVERY_S = 1.0
RECONCILE_FOR_S = 10.0
"""A claim may still be on its way to the server when its connection is given up here."""
MARGIN = timedelta(seconds=60)
"""The instant of a claim may be a little before the moment at which it was found to have failed."""


class ClaimReconciler:
    """Called by the claimer between claims, so that no claim changes what is compared.

    Args:
        context: what the stages of the pipeline share.
    """

    def __init__(self, context: PipelineContext) -> None:
        self._context = context
        self._since: datetime | None = None
        self._failed_at = self._reconciled_at = 0.0

    def claim_failed(self, began: datetime) -> None:
        """Note that a claim failed that began at ``began`` by the database clock."""
        self._failed_at = self._context.clock.monotonic()
        if self._since is None:
            self._since = began - MARGIN
            self._reconciled_at = self._failed_at - RECONCILE_EVERY_S

    @property
    def due_in(self) -> float | None:
        """Seconds until the next reconciliation; None when no claim is in doubt."""
        if self._since is None:
            return None
        due_at = self._reconciled_at + RECONCILE_EVERY_S
        return max(0.0, due_at - self._context.clock.monotonic())

    async def reconcile(self) -> None:
        """Release the runs of unacknowledged claims. Raises Unavailable."""
        if self._since is None:
            return
        context = self._context
        self._reconciled_at = context.clock.monotonic()
        released, is_complete = await context.store.release_unacknowledged(
            context.in_flight.keys(), self._since
        )
        if released:
            context.emit("unacknowledged_claims_released", count=released)
            context.timer.on_runs_available()
        if is_complete and context.clock.monotonic() - self._failed_at > RECONCILE_FOR_S:
            self._since = None
