"""What people ask about campaigns and runs: lists by page, what comes next, one in full.

Lists are keyset paged: at most ``limit`` items, and the next page begins after the last one's key.
Nothing here locks. Every list walks an index in its own order, that of runs of a status one of its
own; a filter of campaigns (status, type) makes it look further along the same index.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from daemon.domain.campaign.model import LoggedEvent, Run
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.errors import NotFound
from daemon.domain.read_models import (
    CampaignDetail,
    CampaignSummary,
    Ref,
    RunDetail,
    RunKey,
    UpcomingEvent,
    UpcomingKey,
)
from daemon.domain.requests import Current
from daemon.domain.schedule.schedule import (
    CampaignType,
    EventKind,
    Schedule,
    ScheduleSource,
    TimedEvent,
)
from storage import listings
from storage.campaigns import campaign_from, not_found
from storage.engine import Database
from storage.schedule_rows import schedule_from


class CampaignReads:
    """Reads of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def campaigns(
        self,
        *,
        limit: int,
        before: int | None = None,
        status: Status | None = None,
        type: CampaignType | None = None,
    ) -> list[CampaignSummary]:
        """Campaigns, newest first, of an id lower than ``before``; payloads are left out."""
        found = await self._database.rows(
            listings.campaigns_page(before is not None, status is not None, type is not None),
            max_rows=limit,
            before=before,
            status=status,
            type=type,
        )
        return [
            CampaignSummary(
                campaign_from(row), row.next_run_at, row.fire_at, row.ends_at, row.rrule
            )
            for row in found
        ]

    async def campaign(self, ref: Ref) -> CampaignDetail:
        """One campaign with its schedule and its timer. Raises NotFound."""
        found = await self._database.rows(listings.campaign_in_full(isinstance(ref, UUID)), ref=ref)
        if not found:
            raise not_found(ref)
        row = found[0]
        columns = _Columns(row)
        current = None
        if columns.revision is not None:
            current = Current(ScheduleSource(columns.source), columns.body, schedule_from(columns))
        timed = None
        if row.fire_at is not None:
            timed = TimedEvent(EventKind(row.event_kind), row.fire_at, row.local)
        return CampaignDetail(
            campaign_from(row),
            current,
            timed,
            columns.rrule,
            columns.revision,
            columns.saved_at,
            row.now,
        )

    async def runs(
        self,
        *,
        limit: int,
        ref: Ref | None = None,
        status: RunStatus | None = None,
        before: RunKey | None = None,
    ) -> list[RunDetail]:
        """Runs, newest first: by when claimed, those of one campaign by scheduled instant."""
        values: dict[str, Any] = {"max_rows": limit}
        if before is not None:
            names = ("before_claimed_at", "before_campaign_id", "before_scheduled_for")
            values |= zip(names, before, strict=True)
        if ref is not None:
            values["campaign_id"] = await self._id_of(ref)
        elif status is RunStatus.EXECUTING:
            # A statement of its own, so that the other is planned for the instant that it is.
            (mark,) = await self._database.rows(listings.OLDEST_CLAIM)
            values["since"] = mark.since
        which = listings.runs_page(ref is not None, status, before is not None)
        found = await self._database.rows(which, **values)
        return [RunDetail(run_from(row), row.campaign_uuid, row.name) for row in found]

    async def run(self, run_id: UUID) -> RunDetail:
        """One run. Raises NotFound."""
        for row in await self._database.rows(listings.RUN, run_id=run_id):
            return RunDetail(run_from(row), row.campaign_uuid, row.name)
        raise NotFound(f"no run has the id {run_id}", message="Run not found")

    async def events(self, ref: Ref, *, limit: int, before: int | None = None) -> list[LoggedEvent]:
        """What happened to one campaign, newest first, of an event id lower than ``before``."""
        campaign_id = await self._id_of(ref)
        found = await self._database.rows(
            listings.events_page(before is not None),
            campaign_id=campaign_id,
            max_rows=limit,
            before=before,
        )
        return [event_from(row) for row in found]

    async def upcoming(
        self, *, limit: int, after: UpcomingKey | None = None
    ) -> list[UpcomingEvent]:
        """The next armed event of each campaign that is not paused, soonest first."""
        after_at, after_id = after or (None, None)
        found = await self._database.rows(
            listings.upcoming_page(after is not None),
            max_rows=limit,
            after_at=after_at,
            after_id=after_id,
        )
        return [
            UpcomingEvent(
                row.campaign_id,
                row.uuid,
                row.name,
                CampaignType(row.type),
                Status(row.status),
                EventKind(row.kind),
                row.fire_at,
                row.local,
                row.timezone,
            )
            for row in found
        ]

    async def upcoming_of(self, ref: Ref, count: int) -> list[UpcomingEvent]:
        """The next ``count`` events of one campaign, of its schedule if it is not armed."""
        shown = await self.campaign(ref)
        if shown.current is None:
            return []
        schedule, campaign = shown.current.schedule, shown.campaign
        return [
            UpcomingEvent(
                campaign.id,
                campaign.uuid,
                campaign.name,
                campaign.type,
                campaign.status,
                event.kind,
                event.at,
                event.local,
                schedule.timezone,
            )
            for event in next_events(schedule, shown.timer, shown.now, count)
        ]

    async def _id_of(self, ref: Ref) -> int:
        for row in await self._database.rows(listings.id_of(isinstance(ref, UUID)), ref=ref):
            return int(row.id)
        raise not_found(ref)


def next_events(
    schedule: Schedule, timer: TimedEvent | None, now: datetime, count: int
) -> list[TimedEvent]:
    """The armed event and those that follow it, or those after now where none is armed."""
    event = timer or schedule.event_after(now)
    found: list[TimedEvent] = []
    while event is not None and len(found) < count:
        found.append(event)
        event = schedule.event_following(event)
    return found


def run_from(row: Any) -> Run:
    """The Run that a row of ``runs`` holds."""
    return Run(
        id=row.id,
        campaign_id=row.campaign_id,
        scheduled_for=row.scheduled_for,
        status=RunStatus(row.status),
        attempt=row.attempt,
        claimed_at=row.claimed_at,
        start_before=row.start_before,
        node=row.node,
        takeovers=row.takeovers,
        cause=row.cause,
        started_at=row.started_at,
        next_attempt_at=row.next_attempt_at,
        finished_at=row.finished_at,
        error=row.error,
    )


def event_from(row: Any) -> LoggedEvent:
    """The LoggedEvent that a row of ``campaign_events`` holds."""
    return LoggedEvent(
        id=row.id,
        campaign_id=row.campaign_id,
        at=row.at,
        event=row.event,
        from_status=row.from_status,
        to_status=row.to_status,
        cause=row.cause,
        actor=row.actor,
        run_id=row.run_id,
        scheduled_for=row.scheduled_for,
        details=row.details,
    )


class _Columns:
    """The columns of a row that were labelled ``d_...``, by their own names."""

    def __init__(self, row: Any) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, f"d_{name}")
