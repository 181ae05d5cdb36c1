"""What the pipeline asks of the database: claim and finish, each one statement over a batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from daemon.domain.run.attempt import (
    Attempt,
    ClaimResult,
    ExpiredAttempt,
    FinishResult,
    PendingRun,
    ReclaimedRun,
)
from daemon.domain.run.claim_plan import ClaimRequest
from daemon.domain.run.outcome import Outcome


class PipelineStore(Protocol):
    """Claiming and finishing, each one statement over a batch."""

    async def claim(self, planned: Sequence[ClaimRequest]) -> list[ClaimResult]:
        """Win what is still due; what is missing from the answer was lost."""
        ...

    async def claim_attempts(
        self,
        waiting: Sequence[PendingRun],
    ) -> tuple[list[Attempt], list[ExpiredAttempt]]:
        """Start what may start; say what came too late."""
        ...

    async def finish(
        self, outcomes: Sequence[tuple[Attempt, Outcome, str, datetime | None]]
    ) -> list[FinishResult | None]:
        """Write outcomes of (work, outcome, status the run is expected to be in, when it began).

        One for each; None where the run was somebody else's by then.
        """
        ...

    async def find_finish_result(self, work: Attempt, outcome: Outcome) -> FinishResult | None:
        """What this node has written of an attempt already, though it never heard so."""
        ...

    async def release(
        self, works: Sequence[Attempt], dispositions: Sequence[str] = ()
    ) -> list[ReclaimedRun]:
        """Give executing runs back: ``not_started``, ``retrying`` or ``held``; those there were."""
        ...

    async def release_unacknowledged(
        self, in_flight: Collection[tuple[int, datetime]], since: datetime
    ) -> tuple[int, bool]:
        """Give back what was claimed and never heard of; how many, and whether that is all."""
        ...
