"""Reads campaigns, runs, history and upcoming events, for the API and the CLI.

Lists are keyset paged: a page holds at most ``limit`` items, and the next page begins after the
last item's key. No read locks a row. Every list walks an index in the list's own order, and runs
of one status have an index of their own. A filter of campaigns by status or type reads further
along the same index.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from daemon.domain.campaign.model import LoggedEvent, Run
from daemon.domain.campaign.state_machine import Event, RunStatus, Status
from daemon.domain.errors import NotFound
from daemon.domain.listing import MAX_COUNT, WHENEVER, Counted, TimeRange
from daemon.domain.read_models import (
    CampaignDetail,
    CampaignSummary,
    Pause,
    Ref,
    RunDetail,
    RunKey,
    UpcomingEvent,
    UpcomingKey,
)
from daemon.domain.requests import CurrentSchedule
from daemon.domain.requests.context import NO_CALENDARS
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.schedule import (
    CampaignType,
    EventKind,
    Schedule,
    ScheduleSource,
    TimedEvent,
)
from storage.calendar_rows import load_calendars
from storage.campaign_rows import campaign_from, campaign_not_found, ref_condition
from storage.engine import Database
from storage.schedule_rows import calendars_in_use, schedule_from, timer_from
from storage.tables import (
    brakes,
    campaign_events,
    campaigns,
    nodes,
    runs,
    schedule_definitions,
    timers,
)

_PAUSES = (
    sa.select(
        campaign_events.c.at,
        campaign_events.c.actor,
        campaign_events.c.from_status,
        campaign_events.c.details["note"].astext.label("note"),
    )
    .where(
        campaign_events.c.campaign_id == sa.bindparam("campaign_id", type_=sa.BigInteger),
        campaign_events.c.event == Event.PAUSE,
    )
    .order_by(campaign_events.c.id.desc())
    .limit(100)
)
"""The newest pauses of a campaign; a paused campaign that is paused again gets one more."""


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
        """Return campaigns with an id below ``before``, newest first, without payloads."""
        rows = await self._database.rows(
            _campaigns_select(before is not None, status is not None, type is not None),
            max_rows=limit,
            before=before,
            status=status,
            type=type,
        )
        return [summary_from(row) for row in rows]

    async def campaign(self, ref: Ref, *, with_calendars: bool = False) -> CampaignDetail:
        """Return one campaign with its schedule and its timer. Raises NotFound.

        It has the calendars if its schedule names any, or the caller asks for them.
        """
        rows = await self._database.rows(_campaign_select(isinstance(ref, UUID)), ref=ref)
        if not rows:
            raise campaign_not_found(ref)
        row = rows[0]
        columns = _LabelledColumns(row)
        current = None
        if columns.revision is not None:
            current = CurrentSchedule(
                ScheduleSource(columns.source), columns.body, schedule_from(columns)
            )
        timed = due_at = None
        if row.fire_at is not None:
            timed, due_at = timer_from(row)
        calendars: Mapping[str, Calendar] = NO_CALENDARS
        if with_calendars or calendars_in_use(current):
            async with self._database.statement() as connection:
                calendars = await load_calendars(connection)
        return CampaignDetail(
            campaign_from(row),
            current,
            timed,
            columns.rrule,
            columns.revision,
            columns.saved_at,
            row.now,
            await self._pause_of(row) if row.status == Status.PAUSED else None,
            due_at,
            calendars,
        )

    async def _pause_of(self, row: Any) -> Pause:
        """Return the pause of a paused campaign, from the events since the pause began."""
        since = by = note = None
        for event in await self._database.rows(_PAUSES, campaign_id=row.id):
            if since is None:
                by, note = event.actor, event.note
            since = event.at
            if event.from_status != Status.PAUSED:
                break
        return Pause(since, by, row.paused_until, note)

    async def runs(
        self,
        *,
        limit: int,
        ref: Ref | None = None,
        status: RunStatus | None = None,
        before: RunKey | None = None,
    ) -> list[RunDetail]:
        """Return runs, newest first: by claim, or those of one campaign by scheduled instant."""
        values: dict[str, Any] = {"max_rows": limit}
        if before is not None:
            names = ("before_claimed_at", "before_campaign_id", "before_scheduled_for")
            values |= zip(names, before, strict=True)
        if ref is not None:
            values["campaign_id"] = await self.campaign_id_of(ref)
        elif status is RunStatus.EXECUTING:
            # Two statements, so that the second is planned for the actual instant.
            (oldest,) = await self._database.rows(OLDEST_CLAIM)
            values["since"] = oldest.since
        statement = _runs_select(ref is not None, status, before is not None)
        rows = await self._database.rows(statement, **values)
        return [run_detail_from(row) for row in rows]

    async def runs_of(
        self,
        campaign_id: int,
        *,
        limit: int,
        status: RunStatus | None = None,
        stretch: TimeRange = WHENEVER,
        before: RunKey | None = None,
    ) -> list[RunDetail]:
        """Return the runs of a campaign by scheduled instant, newest first."""
        statement = (
            sa.select(runs, *_OF_CAMPAIGN)
            .join(campaigns, campaigns.c.id == runs.c.campaign_id)
            .where(*_run_conditions(campaign_id, status, stretch))
            .order_by(runs.c.scheduled_for.desc())
            .limit(limit)
        )
        if before is not None:
            statement = statement.where(runs.c.scheduled_for < before[2])
        return [run_detail_from(row) for row in await self._database.rows(statement)]

    async def count_runs_of(
        self, campaign_id: int, *, status: RunStatus | None = None, stretch: TimeRange = WHENEVER
    ) -> Counted:
        """Count the runs of a campaign."""
        conditions = _run_conditions(campaign_id, status, stretch)
        return await count_rows(self._database, sa.select(sa.literal(1)).where(*conditions))

    async def run(self, run_id: UUID) -> RunDetail:
        """Return one run. Raises NotFound."""
        for row in await self._database.rows(_RUN, run_id=run_id):
            return run_detail_from(row)
        raise NotFound(f"no run has the id {run_id}", message="Run not found")

    async def ids_of_name(self, name: str, limit: int) -> list[int]:
        """Return the ids of at most ``limit`` campaigns with exactly this name, newest first."""
        statement = (
            sa.select(campaigns.c.id)
            .where(campaigns.c.name == name)
            .order_by(campaigns.c.id.desc())
            .limit(limit)
        )
        return [row.id for row in await self._database.rows(statement)]

    async def run_ids_between(self, first: UUID, last: UUID, limit: int) -> list[UUID]:
        """Return the ids of at most ``limit`` runs from ``first`` to ``last``, both included."""
        statement = (
            sa.select(runs.c.id).where(runs.c.id.between(first, last)).distinct().limit(limit)
        )
        return [row.id for row in await self._database.rows(statement)]

    async def events(self, ref: Ref, *, limit: int, before: int | None = None) -> list[LoggedEvent]:
        """Return a campaign's events with an id below ``before``, newest first."""
        statement = (
            sa.select(campaign_events)
            .where(campaign_events.c.campaign_id == await self.campaign_id_of(ref))
            .order_by(campaign_events.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            statement = statement.where(campaign_events.c.id < before)
        rows = await self._database.rows(statement)
        return [event_from(row) for row in rows]

    async def count_events_of(self, campaign_id: int) -> Counted:
        """Count the events of a campaign."""
        condition = campaign_events.c.campaign_id == campaign_id
        return await count_rows(self._database, sa.select(sa.literal(1)).where(condition))

    async def upcoming(
        self, *, limit: int, after: UpcomingKey | None = None
    ) -> list[UpcomingEvent]:
        """Return the armed event of each campaign that is not paused, soonest first."""
        after_at, after_id = after or (None, None)
        rows = await self._database.rows(
            _upcoming_select(after is not None),
            max_rows=limit,
            after_at=after_at,
            after_id=after_id,
        )
        return [upcoming_from(row) for row in rows]

    async def upcoming_of(self, ref: Ref, count: int) -> list[UpcomingEvent]:
        """Return a campaign's next ``count`` events, from its schedule if it is not armed."""
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
            for event in armed_and_following_events(schedule, shown.timer, shown.now, count)
        ]

    async def campaign_id_of(self, ref: Ref) -> int:
        """Return the id of a campaign. Raises NotFound."""
        async with self._database.statement() as connection:
            found = await connection.execute(sa.select(campaigns.c.id).where(ref_condition(ref)))
            campaign_id: int | None = found.scalar_one_or_none()
        if campaign_id is None:
            raise campaign_not_found(ref)
        return campaign_id


def armed_and_following_events(
    schedule: Schedule, timer: TimedEvent | None, now: datetime, count: int
) -> list[TimedEvent]:
    """Return the armed event and its successors, or the events after now if none is armed."""
    event = timer or schedule.event_after(now)
    events: list[TimedEvent] = []
    while event is not None and len(events) < count:
        events.append(event)
        event = schedule.event_following(event)
    return events


def summary_from(row: Any) -> CampaignSummary:
    """Return the CampaignSummary that a row of `summary_columns` holds."""
    return CampaignSummary(campaign_from(row), row.next_run_at, row.fire_at, row.ends_at, row.rrule)


def of_campaign() -> list[Any]:
    """Return the columns of a run's campaign; see `run_detail_from`."""
    names = {"uuid": "campaign_uuid", "name": "name", "target": "target"}
    return [campaigns.c[name].label(label) for name, label in names.items()]


def run_detail_from(row: Any) -> RunDetail:
    """Return the RunDetail that a row of ``runs`` with `of_campaign` holds."""
    return RunDetail(run_from(row), row.campaign_uuid, row.name, row.target)


def upcoming_from(row: Any) -> UpcomingEvent:
    """Return the UpcomingEvent that a row of `upcoming_columns` holds."""
    return UpcomingEvent(
        row.campaign_id,
        row.uuid,
        row.name,
        CampaignType(row.type),
        Status(row.status),
        EventKind(row.kind),
        row.fire_at,
        row.local,
        row.timezone,
        row.frozen,
    )


def upcoming_columns() -> list[Any]:
    """Return the columns of an armed event; see `upcoming_from`."""
    names = ("uuid", "name", "type", "status")
    in_scope = brakes.c.scope.in_(["*", sa.literal("target:") + campaigns.c.target])
    is_frozen = sa.exists().where(brakes.c.frozen_at.is_not(None), in_scope)
    return [
        timers,
        *(campaigns.c[name] for name in names),
        schedule_definitions.c.timezone,
        is_frozen.label("frozen"),
    ]


def run_from(row: Any) -> Run:
    """Return the Run that a row of ``runs`` holds."""
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
    """Return the LoggedEvent that a row of ``campaign_events`` holds."""
    return LoggedEvent(**row._asdict())


async def count_rows(database: Database, matching: sa.Select[Any]) -> Counted:
    """Count the rows of a select, up to `MAX_COUNT`."""
    some = matching.limit(MAX_COUNT + 1).subquery()
    statement = sa.select(sa.func.count().label("number")).select_from(some)
    (row,) = await database.rows(statement)
    return Counted(min(row.number, MAX_COUNT), row.number > MAX_COUNT)


def _run_conditions(
    campaign_id: int, status: RunStatus | None, stretch: TimeRange
) -> list[sa.ColumnElement[bool]]:
    conditions = [runs.c.campaign_id == campaign_id]
    if status is not None:
        conditions.append(runs.c.status == status)
    if stretch.since is not None:
        conditions.append(runs.c.scheduled_for >= stretch.since)
    if stretch.before is not None:
        conditions.append(runs.c.scheduled_for < stretch.before)
    return conditions


class _LabelledColumns:
    """The columns of a row that are labelled ``d_...``, by their names in the table."""

    def __init__(self, row: Any) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, f"d_{name}")


# The statements: one for each combination of filters, built once.

_bind = sa.bindparam
_OF_CAMPAIGN = of_campaign()
_definition, _timer = schedule_definitions.alias("d"), timers.alias("t")


def _ref_condition(by_uuid: bool) -> sa.ColumnElement[bool]:
    return (campaigns.c.uuid if by_uuid else campaigns.c.id) == _bind("ref")


@cache
def _campaigns_select(before: bool, status: bool, type: bool) -> sa.Select[Any]:
    """Leaves payloads out: a page of them could be many megabytes. Binds: max_rows, filters."""
    statement = (
        sa.select(*summary_columns(_definition, _timer))
        .outerjoin(_definition, _definition.c.campaign_id == campaigns.c.id)
        .outerjoin(_timer, _timer.c.campaign_id == campaigns.c.id)
        .order_by(campaigns.c.id.desc())
        .limit(_bind("max_rows", type_=sa.Integer))
    )
    if before:
        statement = statement.where(campaigns.c.id < _bind("before"))
    if status:
        statement = statement.where(campaigns.c.status == _bind("status"))
    if type:
        statement = statement.where(campaigns.c.type == _bind("type"))
    return statement


@cache
def _campaign_select(by_uuid: bool) -> sa.Select[Any]:
    """Adds the timer, and the schedule's columns as ``d_...``. Binds: ref."""
    return (
        sa.select(
            campaigns,
            *[column.label(f"d_{column.name}") for column in _definition.c],
            _timer.c.fire_at,
            _timer.c.scheduled_for,
            _timer.c.local,
            _timer.c.kind.label("event_kind"),
            sa.func.clock_timestamp().label("now"),
        )
        .outerjoin(_definition, _definition.c.campaign_id == campaigns.c.id)
        .outerjoin(_timer, _timer.c.campaign_id == campaigns.c.id)
        .where(_ref_condition(by_uuid))
    )


OLDEST_CLAIM = sa.select(sa.func.min(nodes.c.oldest_claim_at).label("since"))
"""Every run in flight was claimed at or after this instant."""


@cache
def _runs_select(of_campaign: bool, status: RunStatus | None, before: bool) -> sa.Select[Any]:
    """Binds: max_rows, campaign_id, since, before_claimed_at/campaign_id/scheduled_for."""
    statement = (
        sa.select(runs, *_OF_CAMPAIGN)
        .join(campaigns, campaigns.c.id == runs.c.campaign_id)
        .limit(_bind("max_rows", type_=sa.Integer))
    )
    if status is not None:
        condition = run_status_condition(status, since=_bind("since"), of_campaign=of_campaign)
        statement = statement.where(condition)
    if of_campaign:
        statement = statement.where(runs.c.campaign_id == _bind("campaign_id")).order_by(
            runs.c.scheduled_for.desc()
        )
        if before:
            statement = statement.where(runs.c.scheduled_for < _bind("before_scheduled_for"))
        return statement
    key = (runs.c.claimed_at, runs.c.campaign_id, runs.c.scheduled_for)
    statement = statement.order_by(*(column.desc() for column in key))
    if before:
        bound = [_bind(f"before_{column.name}", type_=column.type) for column in key]
        # The first condition is implied; it is the one that the index understands.
        statement = statement.where(
            runs.c.claimed_at <= bound[0], sa.tuple_(*key) < sa.tuple_(*bound)
        )
    return statement


_RUN = (
    sa.select(runs, *_OF_CAMPAIGN)
    .join(campaigns, campaigns.c.id == runs.c.campaign_id)
    .where(runs.c.id == _bind("run_id"))
)
"""Binds: run_id."""


@cache
def _upcoming_select(after: bool) -> sa.Select[Any]:
    """Binds: max_rows, after_at, after_id."""
    key = (timers.c.fire_at, timers.c.campaign_id)
    statement = (
        sa.select(*upcoming_columns())
        .join(campaigns, campaigns.c.id == timers.c.campaign_id)
        .join(schedule_definitions, schedule_definitions.c.campaign_id == timers.c.campaign_id)
        .where(campaigns.c.status != Status.PAUSED)
        .order_by(*key)
        .limit(_bind("max_rows", type_=sa.Integer))
    )
    if after:
        bound = [
            _bind(name, type_=column.type)
            for name, column in zip(("after_at", "after_id"), key, strict=True)
        ]
        statement = statement.where(
            timers.c.fire_at >= bound[0], sa.tuple_(*key) > sa.tuple_(*bound)
        )
    return statement


def run_status_condition(
    status: RunStatus, *, since: Any, of_campaign: bool = False
) -> sa.ColumnElement[bool]:
    """Phrased so that an index finds the runs, without reading those of another status.

    Every run in flight was claimed at or after ``since``.
    """
    if of_campaign or status is RunStatus.COMPLETED:
        return runs.c.status == status
    if status is not RunStatus.EXECUTING:
        return runs.c.rare_status == status
    # In flight on a node, or accepted to finish later.
    in_flight = runs.c.claimed_at >= since
    return sa.and_(runs.c.status == status, sa.or_(in_flight, runs.c.lease_until.is_not(None)))


def summary_columns(definition: Any, timer: Any) -> list[Any]:
    """Return the columns of a campaign in a list, without its payload; see `summary_from`."""
    return [
        *[column for column in campaigns.c if column.name != "payload"],
        sa.literal_column("'{}'::jsonb").label("payload"),
        definition.c.ends_at,
        definition.c.rrule,
        timer.c.fire_at,
        next_run_expression(definition, timer).label("next_run_at"),
    ]


def next_run_expression(definition: Any, timer: Any) -> sa.ColumnElement[Any]:
    """Return the instant of the armed run: a FIRE, or an OPEN whose window starts with a run."""
    repeats = sa.func.num_nonnulls(definition.c.frequency, definition.c.every_seconds) > 0
    is_fire = timer.c.kind == EventKind.FIRE
    opens_with_one = sa.and_(timer.c.kind == EventKind.OPEN, repeats)
    at = sa.func.coalesce(timer.c.scheduled_for, timer.c.fire_at)
    return sa.case((sa.or_(is_fire, opens_with_one), at))
