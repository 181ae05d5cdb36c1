"""What the daemon's parts ask of the world, as Protocols; `daemon.app` wires what fits them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from daemon.domain.campaign.model import Campaign, Change, Snapshot
from daemon.domain.run.attempt import (
    ArmedEvent,
    Attempt,
    ClaimResult,
    ExpiredAttempt,
    OverdueEvent,
    PendingRun,
    PollResult,
    ReclaimedRun,
)
from daemon.domain.run.claim_plan import ClaimRequest
from daemon.domain.run.log_events import RunEnded
from daemon.domain.run.outcome import AttemptUpdate, FinishResult, OpenAttempt, Outcome


class Emit(Protocol):
    """Tells what happened: a stable event name and its keys. Never raises, never waits."""

    def __call__(self, event: str, /, **fields: Any) -> None: ...


def is_enabled(emit: Emit, event: str) -> bool:
    """Whether somebody listens, as far as who tells can know; what is made for each run asks."""
    wants: Callable[[str], bool] | None = getattr(emit, "wants", None)
    return wants is None or wants(event)


class Clock(Protocol):
    """Wall time for decisions, monotonic time for durations."""

    def now(self) -> datetime:
        """The aware UTC instant."""
        ...

    def monotonic(self) -> float:
        """Seconds, for differences only."""
        ...


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


class CampaignEdit(Protocol):
    """A campaign whose row is locked until the surrounding transaction ends."""

    @property
    def snapshot(self) -> Snapshot:
        """What is known of the campaign, read under the lock."""
        ...

    @property
    def revision(self) -> int | None:
        """Of the schedule as it is now, after what was applied; None without a schedule."""
        ...

    @property
    def endings(self) -> Sequence[RunEnded]:
        """The runs that what was applied has ended."""
        ...

    async def apply(self, change: Change, actor: str) -> None:
        """Write a change, its event row, and the notice to the nodes."""
        ...


class CampaignStore(Protocol):
    """Where campaigns are kept."""

    async def get(self, ref: int | UUID) -> Campaign:
        """One campaign, unlocked. Raises NotFound."""
        ...

    async def create(self, campaign: Campaign, actor: str) -> Campaign:
        """Insert a draft. Raises Conflict if its uuid is taken."""
        ...

    def edit(
        self,
        ref: int | UUID,
        now: datetime | None = None,
    ) -> AbstractAsyncContextManager[CampaignEdit]:
        """Lock a campaign; commits at the end of the block, unless it raises."""
        ...


class RunResultStore(Protocol):
    """Answers of those who finish runs later, each guarded by (run, attempt)."""

    async def end(
        self,
        run_id: UUID,
        attempt: int,
        decide: Callable[[OpenAttempt], Outcome],
        actor: str,
    ) -> AttemptUpdate:
        """Write what ``decide`` makes of the open attempt. Raises NotFound, Conflict."""
        ...

    async def extend(self, run_id: UUID, attempt: int, seconds: float) -> AttemptUpdate:
        """Let the open attempt go on for so long from now. Raises NotFound, Conflict."""
        ...

    async def campaign_of(self, run_id: UUID) -> int:
        """The id of the campaign whose run this is. Raises NotFound."""
        ...

    async def release(self, run_id: UUID, grace: float, actor: str) -> AttemptUpdate:
        """A held run goes on its way, within a grace of so many seconds. Raises Refused."""
        ...

    async def fail_held(self, run_id: UUID, reason: str, actor: str) -> AttemptUpdate:
        """A held run has failed. Raises NotFound, Refused."""
        ...


class TimerStore(Protocol):
    """Reads what is armed and what waits; the one way into the timer."""

    async def between(
        self,
        since: tuple[datetime, int],
        until: datetime,
        shards: Sequence[int],
        max_rows: int,
    ) -> list[ArmedEvent]:
        """Events of ``shards`` after ``since`` (instant, campaign id), due before ``until``."""
        ...

    async def overdue(
        self, since: tuple[datetime, int], before: datetime, max_rows: int
    ) -> list[OverdueEvent]:
        """Events of any shard after a place in the order and due before an instant."""
        ...

    async def of(self, campaign_ids: Sequence[int], until: datetime) -> list[ArmedEvent]:
        """Events of the named campaigns due before an instant."""
        ...

    async def look(
        self,
        xmin: str,
        overdue_before: datetime,
        until: datetime,
        max_rows: int,
    ) -> PollResult:
        """Whether there is anything to load: written since ``xmin``, overdue, or waiting."""
        ...

    async def waiting(
        self,
        since: tuple[datetime, int, datetime],
        until: datetime,
        overdue_before: datetime,
        shards: Sequence[int],
        max_rows: int,
        without: Sequence[str],
    ) -> list[PendingRun]:
        """Runs after a place in the order and due before an instant, but for some targets."""
        ...


class HeartbeatReply(Protocol):
    """What a heartbeat answers."""

    @property
    def now(self) -> datetime:
        """The database's clock."""
        ...

    @property
    def others(self) -> list[str]:
        """The other live nodes."""
        ...

    @property
    def lost(self) -> list[str]:
        """Nodes whose lease ended."""
        ...


class NodeStore(Protocol):
    """The daemons at work on one database."""

    async def register(
        self,
        node: str,
        *,
        name: str,
        host: str,
        pid: int,
        version: str,
        tzdata: str,
        lease: float,
    ) -> datetime:
        """Take a place; the database's instant."""
        ...

    async def beat(
        self,
        node: str,
        *,
        lease: float,
        oldest_claim_at: datetime | None,
        skew_ms: int = 0,
        shards: int = 0,
        draining: bool = False,
    ) -> HeartbeatReply | None:
        """Renew the lease; None when the node's place is gone."""
        ...

    def take_over(self, node: str, dead_node: str) -> AsyncIterator[list[ReclaimedRun]]:
        """Free every run that a lost node held, a batch at a time, then forget it."""
        ...

    async def retire(self, node: str) -> None:
        """Leave in good order."""
        ...
