"""Reads the evidence on a campaign around one instant, for `campaignd explain`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from daemon.domain.campaign.explain import Evidence, TargetPause, span_of
from daemon.domain.campaign.model import LoggedEvent
from daemon.domain.campaign.schedule_fields import timezone_in_force
from daemon.domain.campaign.state_machine import Event
from daemon.domain.explanation import Explanation
from daemon.domain.read_models import Ref
from daemon.domain.requests.datetimes import resolve_datetime
from daemon.domain.run.target_state import TargetOnNode, worst_of
from daemon.domain.schedule.timezones import zone
from storage.brakes import BrakeStore
from storage.campaign_reads import CampaignReads, event_from, run_from
from storage.engine import Database
from storage.tables import campaign_events, nodes, runs
from storage.target_reads import targets_on_nodes

NEWEST_RUNS = 5
NEXT_EVENTS = 3
_EDITS = (Event.SCHEDULE_SAVED, Event.SCHEDULE_CLEARED, Event.SCHEDULE_UPDATED)


class ExplainReads:
    """Reads evidence; every statement reads by a key of its table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads = CampaignReads(database)

    async def explain(self, ref: Ref, written: datetime | None = None) -> Explanation:
        """Return the evidence on the run at a written time, or on the newest runs.

        Args:
            ref: the campaign's id or uuid.
            written: a time with an offset, or naive in the zone of the schedule; without seconds
                it means the whole minute, and so on.

        Raises:
            NotFound: the campaign does not exist.
            OverflowError: the time is outside the calendar in UTC.
        """
        detail = await self._reads.campaign(ref)
        timezone = timezone_in_force(detail.snapshot)
        campaign_id = detail.campaign.id
        if written is not None:
            instants = [resolve_datetime(written, zone(timezone))[0]]
            within = span_of(written)
        else:
            newest = await self._reads.runs(limit=NEWEST_RUNS, ref=campaign_id)
            instants = [listed.run.scheduled_for for listed in reversed(newest)]
            within = timedelta(microseconds=1)
        return Explanation(
            detail,
            timezone,
            [await self.read_evidence(campaign_id, at, within) for at in instants],
            await self._reads.upcoming_of(campaign_id, NEXT_EVENTS),
        )

    async def read_evidence(self, ref: Ref, at: datetime, within: timedelta) -> Evidence:
        """Return the evidence on the run at ``at``, or on the first run less than ``within`` later.

        Raises:
            NotFound: the campaign does not exist.
        """
        detail = await self._reads.campaign(ref)
        campaign = detail.campaign
        schedule = None if detail.current is None else detail.current.schedule
        of_campaign = runs.c.campaign_id == campaign.id
        async with self._database.statement() as connection:
            live_nodes = (
                await connection.execute(
                    sa.select(nodes.c.name, nodes.c.targets).where(nodes.c.lease_until > detail.now)
                )
            ).all()
            found = await connection.execute(
                sa.select(runs)
                .where(of_campaign, runs.c.scheduled_for >= at, runs.c.scheduled_for < at + within)
                .order_by(runs.c.scheduled_for)
                .limit(1)
            )
            row = found.one_or_none()
        if row is not None:
            at = row.scheduled_for
        elif schedule is not None:
            event = schedule.event_after(at - timedelta(microseconds=1))
            if event is not None and event.at < at + within:
                at = event.at
        freeze = (await BrakeStore(self._database).read()).freeze_of(campaign.target)
        before = campaign_events.c.at <= at
        stretch = sa.and_(
            campaign_events.c.event == Event.PASSED,
            campaign_events.c.details["from"].astext.cast(sa.DateTime(timezone=True)) <= at,
            campaign_events.c.details["to"].astext.cast(sa.DateTime(timezone=True)) >= at,
        )
        moved = sa.and_(
            before, campaign_events.c.to_status.is_distinct_from(campaign_events.c.from_status)
        )
        edited = sa.and_(~before, campaign_events.c.event.in_(_EDITS))
        return Evidence(
            campaign=campaign,
            schedule=schedule,
            saved_at=detail.saved_at,
            timer=detail.timer,
            now=detail.now,
            live_nodes=len(live_nodes),
            target_pause=_pause_of(targets_on_nodes(live_nodes, campaign.target)),
            freeze=freeze,
            at=at,
            run=None if row is None else run_from(row),
            run_events=tuple(
                await self._read_events(
                    campaign.id, campaign_events.c.scheduled_for == at, limit=50
                )
            ),
            moved=_first_or_none(await self._read_events(campaign.id, moved, limit=1, newest=True)),
            schedule_change=_first_or_none(await self._read_events(campaign.id, edited, limit=1)),
            stretch=_first_or_none(await self._read_events(campaign.id, stretch, limit=1)),
        )

    async def _read_events(
        self,
        campaign_id: int,
        condition: sa.ColumnElement[bool],
        *,
        limit: int,
        newest: bool = False,
    ) -> list[LoggedEvent]:
        order = campaign_events.c.id.desc() if newest else campaign_events.c.id
        statement = (
            sa.select(campaign_events)
            .where(campaign_events.c.campaign_id == campaign_id, condition)
            .order_by(order)
            .limit(limit)
        )
        return [event_from(row) for row in await self._database.rows(statement)]


def _pause_of(on_nodes: Sequence[TargetOnNode]) -> TargetPause | None:
    worst = worst_of(on_nodes)
    return None if worst is None else TargetPause(worst.paused_until, worst.error)


def _first_or_none(events: Sequence[LoggedEvent]) -> LoggedEvent | None:
    return events[0] if events else None
