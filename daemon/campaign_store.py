"""The stores that `daemon.campaign_service` works on, as Protocols; `storage` implements them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from daemon.domain.campaign.model import Campaign, Change, Snapshot
from daemon.domain.import_report import ImportReport
from daemon.domain.requests import ParsedSchedule
from daemon.domain.run.attempt import AttemptUpdate, OpenAttempt, RunEnded
from daemon.domain.run.held import HeldSelector
from daemon.domain.run.outcome import Outcome


class CampaignEdit(Protocol):
    """A campaign whose row is locked until the surrounding transaction ends."""

    @property
    def snapshot(self) -> Snapshot:
        """The state of the campaign, read under the lock."""
        ...

    @property
    def revision(self) -> int | None:
        """Revision of the schedule after the applied changes; None without a schedule."""
        ...

    @property
    def ended_runs(self) -> Sequence[RunEnded]:
        """The runs that the applied changes have ended."""
        ...

    @property
    def run_id(self) -> UUID | None:
        """The run that the applied changes have made, or made due again."""
        ...

    async def amend_fields(self, values: dict[str, Any], actor: str) -> None:
        """Write new values of name, timezone, target or payload, and their event row."""
        ...

    async def apply(self, change: Change, actor: str) -> None:
        """Write a change, its event row, and the notification to the nodes."""
        ...


class CampaignStore(Protocol):
    """The store of campaigns."""

    async def create(
        self,
        campaign: Campaign,
        actor: str,
        schedule: ParsedSchedule | None = None,
        copied_from: int | None = None,
    ) -> Campaign:
        """Insert a draft with its schedule. Raises Conflict if its uuid is in use."""
        ...

    async def failing(self, campaign_ids: Collection[int]) -> Mapping[int, int]:
        """Return live campaigns that are to be paused, with their runs in a row that failed.

        Args:
            campaign_ids: campaigns of which a run has just failed.
        """
        ...

    async def read_snapshot(self, ref: int | UUID, now: datetime | None = None) -> Snapshot:
        """Return a campaign's state without a lock. Raises NotFound."""
        ...

    def edit(
        self, ref: int | UUID, now: datetime | None = None, *, with_calendars: bool = False
    ) -> AbstractAsyncContextManager[CampaignEdit]:
        """Lock a campaign; commit at the end of the block, unless the block raises.

        The snapshot has the calendars if its schedule names any, or the caller asks for them.
        """
        ...


class ImportStore(Protocol):
    """The store of imported lines."""

    async def load(self, lines: Sequence[bytes], actor: str, *, update: bool) -> ImportReport:
        """Load every line that can be loaded, and report the others."""
        ...


class RunResultStore(Protocol):
    """The store of results that are reported later, each guarded by run and attempt."""

    async def end_attempt(
        self,
        run_id: UUID,
        attempt: int,
        decide: Callable[[OpenAttempt], Outcome],
        actor: str,
    ) -> AttemptUpdate:
        """Write the outcome that ``decide`` returns for the open attempt.

        Raises NotFound, Conflict.
        """
        ...

    async def extend_lease(self, run_id: UUID, attempt: int, seconds: float) -> AttemptUpdate:
        """Extend the open attempt's lease to ``seconds`` from now. Raises NotFound, Conflict."""
        ...

    async def campaign_id_of(self, run_id: UUID) -> int:
        """Return the id of the run's campaign. Raises NotFound."""
        ...


class HeldRunStore(Protocol):
    """The store of runs that wait for an operator's decision."""

    async def decide(
        self,
        run_id: UUID,
        decision: Literal["release", "drop", "fail"],
        actor: str,
        note: str | None = None,
    ) -> AttemptUpdate:
        """Make a held run due, missed or failed. Raises NotFound, Conflict."""
        ...

    async def decide_many(
        self,
        where: HeldSelector,
        decision: Literal["release", "drop"],
        actor: str,
        confirm: int | None,
        note: str | None = None,
    ) -> tuple[int, list[RunEnded]]:
        """Make held runs due or missed; return their number, and those that have ended.

        Raises ConfirmationRequired.
        """
        ...
