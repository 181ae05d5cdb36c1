"""What the pipeline asks of the database and of the timer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from daemon.domain.run.attempt import (
    ArmedEvent,
    Attempt,
    AttemptKey,
    ClaimResult,
    DueEntry,
    ExpiredAttempt,
    FinishedAttempt,
    FinishResult,
    PendingRun,
    ReclaimedRun,
)
from daemon.domain.run.claim_plan import ClaimRequest
from daemon.domain.run.outcome import Outcome


class PipelineStore(Protocol):
    """Claims and finishes runs, each by one statement over a batch.

    Most runs are plain: their campaign is idle when they are claimed, and their first attempt
    delivers them. Those are claimed and finished by short statements, which leave out every row
    that is not plain by what the database holds. The general statements decide on the rest.
    """

    async def claim_plain(
        self, requests: Sequence[ClaimRequest], without_payload: Collection[str]
    ) -> list[ClaimResult]:
        """Claim plain requests of idle campaigns; return what was won."""
        ...

    async def claim(
        self, requests: Sequence[ClaimRequest], without_payload: Collection[str]
    ) -> tuple[list[ClaimResult], list[int]]:
        """Claim what is still due, without the payload of runs for some targets.

        Returns:
            The claims that were won, and the indexes of requests that remain due because the batch
            has too many bytes. A request in neither was lost.
        """
        ...

    async def claim_attempts(
        self, pending: Sequence[PendingRun], without_payload: Collection[str]
    ) -> tuple[list[Attempt], list[ExpiredAttempt], list[AttemptKey]]:
        """Claim the next attempts of pending runs.

        Returns:
            Those that may start, those that are too late, and the keys of those that remain due
            because the batch has too many bytes.
        """
        ...

    async def finish_plain(self, finished: Sequence[FinishedAttempt]) -> list[FinishResult]:
        """Write plain outcomes of campaigns without another open run; return what was written."""
        ...

    async def finish(self, finished: Sequence[FinishedAttempt]) -> list[FinishResult]:
        """Write outcomes; return what was written.

        The run of another outcome belonged to another node by then, or `find_blocked` returns it.
        """
        ...

    async def record_overtaken(self, finished: Sequence[FinishedAttempt]) -> None:
        """Record refused outcomes of runs that another node had by then."""
        ...

    async def find_blocked(
        self, attempts: Sequence[tuple[Attempt, str]]
    ) -> Mapping[AttemptKey, int | None]:
        """Return attempts that are blocked by another session's lock, by key.

        Args:
            attempts: each with the status that its run is expected to have.

        Returns:
            The process id of that session on the database server, None if unknown.
        """
        ...

    async def find_finish_result(self, attempt: Attempt, outcome: Outcome) -> FinishResult | None:
        """Return the result that this node has written already, if its reply was lost."""
        ...

    async def release(
        self,
        attempts: Sequence[Attempt],
        dispositions: Sequence[str],
        cause: str = "given back by a stopping node",
    ) -> list[ReclaimedRun]:
        """Release executing runs as ``not_started``, ``retrying`` or ``held``.

        Returns:
            The runs that were this node's to release.
        """
        ...

    async def release_unacknowledged(
        self, in_flight: Collection[AttemptKey], since: datetime
    ) -> tuple[int, bool]:
        """Release runs claimed since ``since`` whose claim was never acknowledged.

        Returns:
            How many were released, and whether no claim can be under way any more.
        """
        ...


class RunStatusStore(Protocol):
    """Reads the present status of runs."""

    async def statuses(
        self, attempts: Sequence[Attempt]
    ) -> Mapping[AttemptKey, tuple[str, int, str]]:
        """Return the status and attempt of each run and the status of its campaign, by key."""
        ...


class Timer(Protocol):
    """What the pipeline reports to the timer. No method blocks."""

    def settle(
        self,
        claimed: Sequence[DueEntry],
        following: Sequence[ArmedEvent] = (),
        lost: Sequence[int] = (),
        backlogged: Sequence[int] = (),
    ) -> None:
        """Report the result of a claim.

        Args:
            claimed: the entries that were claimed or lost; they may be loaded again.
            following: the next events of the schedules whose event was won.
            lost: campaigns whose event was not won; their state is read from the database.
            backlogged: campaigns whose next event is due already and waits for the run before it.
        """
        ...

    def runs_finished(self, campaign_ids: Sequence[int], *, promoted: bool) -> None:
        """Report written outcomes of campaigns, after which other runs of them may be due.

        Args:
            campaign_ids: the campaigns.
            promoted: whether queued runs of them are due now.
        """
        ...

    def on_runs_available(self) -> None:
        """Report that pending runs may be due: load them."""
        ...
