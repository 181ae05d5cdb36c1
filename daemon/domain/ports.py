"""What the daemon's parts ask of the world, as Protocols; `daemon.app` wires what fits them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from daemon.domain.campaign.model import Campaign, Change, Snapshot
from daemon.domain.run.attempt import (
    AttemptUpdate,
    OpenAttempt,
    RunEnded,
)
from daemon.domain.run.outcome import Outcome


class Emit(Protocol):
    """Tells what happened: a stable event name and its keys. Never raises, never waits."""

    def __call__(self, event: str, /, **fields: Any) -> None: ...


def is_enabled(emit: Emit, event: str) -> bool:
    """Return whether any subscriber handles this event.

    Callers check before they build fields for each run. A subscriber without a method
    ``is_enabled`` handles every event.
    """
    check: Callable[[str], bool] | None = getattr(emit, "is_enabled", None)
    return check is None or check(event)


class Clock(Protocol):
    """Wall time for decisions, monotonic time for durations."""

    def now(self) -> datetime:
        """The aware UTC instant."""
        ...

    def monotonic(self) -> float:
        """Seconds, for differences only."""
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
