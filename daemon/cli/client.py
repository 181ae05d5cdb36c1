"""What commands ask of campaignd: of a database (`daemon.cli.store`) or over HTTP (`remote`).

A command that goes through a `Client` works with `--server`; one that takes a `Store` does not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

from daemon.domain.campaign.model import Campaign, LoggedEvent, Snapshot
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.read_models import (
    CampaignDetail,
    CampaignSummary,
    Overview,
    Ref,
    RunDetail,
    RunKey,
    StatusCounts,
    UpcomingEvent,
    UpcomingKey,
)
from daemon.domain.requests import ParsedSchedule
from daemon.domain.schedule.schedule import CampaignType

if TYPE_CHECKING:
    from daemon.campaign_service import CampaignEdited, CommandResult, RevisionCheck
    from daemon.cli.when import When
    from daemon.domain.campaign.copying import CampaignCopy


class AgendaEntry(NamedTuple):
    """A run of the past with its status, or one to come."""

    at: datetime
    campaign_id: int
    name: str
    status: str


class ClientReads(Protocol):
    """Reads of campaigns and runs; the methods are those of `storage.campaign_reads`."""

    async def campaigns(
        self,
        *,
        limit: int,
        before: int | None = None,
        status: Status | None = None,
        type: CampaignType | None = None,
    ) -> list[CampaignSummary]:
        """Return campaigns with an id below ``before``, newest first."""
        ...

    async def campaign(self, ref: Ref, *, with_calendars: bool = False) -> CampaignDetail:
        """Return one campaign with its schedule. Raises NotFound."""
        ...

    async def runs(
        self,
        *,
        limit: int,
        ref: Ref | None = None,
        status: RunStatus | None = None,
        before: RunKey | None = None,
    ) -> list[RunDetail]:
        """Return runs, newest first."""
        ...

    async def events(self, ref: Ref, *, limit: int) -> list[LoggedEvent]:
        """Return a campaign's newest events."""
        ...

    async def upcoming(
        self, *, limit: int, after: UpcomingKey | None = None
    ) -> list[UpcomingEvent]:
        """Return the armed event of each campaign, soonest first."""
        ...

    async def upcoming_of(self, ref: Ref, count: int) -> list[UpcomingEvent]:
        """Return a campaign's next events."""
        ...

    async def ids_of_name(self, name: str, limit: int) -> list[int]:
        """Return the ids of campaigns with exactly this name."""
        ...

    async def run_ids_between(self, first: UUID, last: UUID, limit: int) -> list[UUID]:
        """Return the ids of runs from ``first`` to ``last``."""
        ...


class ClientCommands(Protocol):
    """Commands on campaigns and runs; the methods are those of `daemon.campaign_service`."""

    def parse_schedule(self, snapshot: Snapshot, body: object) -> ParsedSchedule:
        """Parse a body as it would be saved. Raises InvalidInput."""
        ...

    async def create(self, campaign: Campaign, actor: str) -> Campaign:
        """Create a draft."""
        ...

    async def copy_campaign(self, ref: Ref, actor: str, name: str | None = None) -> CampaignCopy:
        """Create a draft with the content and the schedule of a campaign."""
        ...

    async def edit_campaign(
        self,
        ref: Ref,
        body: object,
        actor: str,
        *,
        targets: Collection[str],
        expect: RevisionCheck | None = None,
        replace_payload: bool = False,
    ) -> CampaignEdited:
        """Change a campaign's own fields by a merge patch."""
        ...

    async def save_schedule(
        self, ref: Ref, body: object, actor: str, expect: RevisionCheck | None = None
    ) -> CommandResult:
        """Replace the schedule."""
        ...

    async def update_schedule(
        self, ref: Ref, body: object, actor: str, expect: RevisionCheck | None = None
    ) -> CommandResult:
        """Merge a body into the schedule."""
        ...

    async def clear_schedule(
        self, ref: Ref, actor: str, expect: RevisionCheck | None = None
    ) -> CommandResult:
        """Delete the schedule."""
        ...

    async def start(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Arm the campaign, run it now, or resume it."""
        ...

    async def pause(
        self, ref: Ref, actor: str, note: str | None = None, until: datetime | None = None
    ) -> CommandResult:
        """Start no new run."""
        ...

    async def stop(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Cancel the campaign and every open run."""
        ...

    async def rerun(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Run an ended campaign once more, now."""
        ...

    async def run_now(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Run a live campaign once, now."""
        ...

    async def archive(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Archive an ended campaign."""
        ...

    async def unarchive(self, ref: Ref, actor: str, note: str | None = None) -> CommandResult:
        """Restore an archived campaign."""
        ...

    async def delete_campaign(self, ref: Ref, actor: str) -> CommandResult:
        """Delete the campaign and its history."""
        ...

    async def retry(self, run_id: UUID, actor: str, note: str | None = None) -> CommandResult:
        """Make the next attempt of a failed run due now."""
        ...


class Client(Protocol):
    """campaignd, as the commands see it."""

    @property
    def reads(self) -> ClientReads:
        """The reads."""
        ...

    @property
    def service(self) -> ClientCommands:
        """The commands."""
        ...

    def targets_with(self, wanted: str | None) -> Collection[str]:
        """Return the targets that a campaign may name; over HTTP the server decides."""
        ...

    async def campaign_ref(self, text: str) -> Ref:
        """Return the id or uuid that a REF means. Raises NotFound, typer.BadParameter."""
        ...

    async def run_id(self, text: str) -> UUID:
        """Return the run's id that a RUN means. Raises NotFound, typer.BadParameter."""
        ...

    async def explain(self, shown: CampaignDetail, when: When | None) -> dict[str, Any]:
        """Return an explanation as the API has it: of one time, or of the newest runs."""
        ...

    async def agenda(self, since: datetime, before: datetime) -> Sequence[AgendaEntry]:
        """Return runs of the past and to come, from ``since`` until ``before``."""
        ...

    async def overview(self) -> Overview:
        """Return the state of the cluster."""
        ...

    async def counts(self) -> StatusCounts:
        """Return the number of campaigns and runs by status."""
        ...
