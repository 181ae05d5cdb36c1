"""Campaigns: reads one, creates one, and locks one for an edit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.audit import Action, AuditEntry
from daemon.domain.campaign.model import Campaign, Change, Snapshot
from daemon.domain.campaign.state_machine import Event, Status
from daemon.domain.errors import Conflict
from daemon.domain.requests import CurrentSchedule, ParsedSchedule
from daemon.domain.schedule.schedule import ScheduleSource
from storage.audit_log import record_in_transaction
from storage.calendar_rows import load_calendars
from storage.campaign_editor import LockedCampaign
from storage.campaign_rows import campaign_from, campaign_not_found, ref_condition
from storage.engine import Connections, rows_of
from storage.queries import query
from storage.schedule_rows import calendars_in_use, schedule_from, timer_from
from storage.tables import campaign_events, campaigns, runs, schedule_definitions, timers


class Campaigns:
    """The campaigns of one database."""

    def __init__(self, database: Connections) -> None:
        self._database = database

    async def get(self, ref: int | UUID) -> Campaign:
        """Return one campaign, unlocked. Raises NotFound."""
        async with self._database.statement() as connection:
            row = (
                await connection.execute(sa.select(campaigns).where(ref_condition(ref)))
            ).one_or_none()
        if row is None:
            raise campaign_not_found(ref)
        return campaign_from(row)

    async def create(
        self,
        campaign: Campaign,
        actor: str,
        schedule: ParsedSchedule | None = None,
        copied_from: int | None = None,
    ) -> Campaign:
        """Insert a draft. Raises Conflict if its uuid is taken.

        Args:
            campaign: the draft; its id is not used.
            actor: the caller's name, for ``campaign_events``.
            schedule: its schedule, which a start arms.
            copied_from: the id of the campaign that it is a copy of.
        """
        async with self._database.transaction() as connection:
            insert = sa.dialects.postgresql.insert(campaigns).values(
                uuid=campaign.uuid,
                name=campaign.name,
                type=campaign.type,
                timezone=campaign.timezone,
                target=campaign.target,
                payload=campaign.payload,
            )
            row = (
                await connection.execute(
                    insert.on_conflict_do_nothing(index_elements=["uuid"]).returning(campaigns),
                )
            ).one_or_none()
            if row is None:
                raise Conflict(f"a campaign with the uuid {campaign.uuid} exists already")
            await connection.execute(
                sa.insert(campaign_events).values(
                    campaign_id=row.id,
                    event="created",
                    to_status=Status.DRAFT,
                    actor=actor,
                    details=None if copied_from is None else {"copied_from": copied_from},
                ),
            )
            entry = AuditEntry(
                Action.CAMPAIGN_CREATED,
                "campaign",
                str(row.id),
                row.name,
                note=None if copied_from is None else f"a copy of campaign {copied_from}",
                actor=actor,
            )
            await record_in_transaction(connection, entry)
            created = campaign_from(row)
            if schedule is not None:
                change = Change(
                    Event.SCHEDULE_UPDATED, Status.DRAFT, schedule=schedule, keep_timer=False
                )
                snapshot = Snapshot(created, row.created_at)
                await LockedCampaign(connection, snapshot).apply(change, actor)
        return created

    async def ended_pauses(self, limit: int, now: datetime | None = None) -> list[int]:
        """Return the ids of at most ``limit`` campaigns whose pause is over, in that order.

        Args:
            limit: the maximum number.
            now: the instant of the question; the database clock by default.
        """
        statement = (
            sa.select(campaigns.c.id)
            .where(campaigns.c.paused_until <= (sa.func.now() if now is None else now))
            .order_by(campaigns.c.paused_until)
            .limit(limit)
        )
        async with self._database.statement() as connection:
            return list((await connection.execute(statement)).scalars())

    async def failing(self, campaign_ids: Collection[int]) -> dict[int, int]:
        """Return the live campaigns that are to be paused, with their runs in a row that failed.

        Args:
            campaign_ids: campaigns of which a run has just failed.
        """
        async with self._database.statement() as connection:
            found = await connection.execute(
                query("find_failing_campaigns"), {"campaign_ids": sorted(campaign_ids)}
            )
            return {row.campaign_id: row.failures for row in found}

    @asynccontextmanager
    async def edit(
        self, ref: int | UUID, now: datetime | None = None, *, with_calendars: bool = False
    ) -> AsyncIterator[LockedCampaign]:
        """Lock a campaign and yield it with its snapshot; commit unless the block raises.

        Args:
            ref: the campaign's id or uuid.
            now: the instant of the decision; the database clock by default.
            with_calendars: whether the snapshot has the calendars, whatever the schedule names.
        """
        async with self._database.transaction() as connection:
            rows = await rows_of(connection, _locking_select(isinstance(ref, UUID)), ref=ref)
            if not rows:
                raise campaign_not_found(ref)
            # A second statement, because its snapshot is taken after the lock was granted.
            snapshot = await _read_snapshot(connection, campaign_from(rows[0]), now)
            current = snapshot.current
            if with_calendars or calendars_in_use(current):
                calendars = await load_calendars(connection, lock=True)
                snapshot = replace(snapshot, calendars=calendars)
            yield LockedCampaign(connection, snapshot)

    async def read_snapshot(self, ref: int | UUID, now: datetime | None = None) -> Snapshot:
        """Return a campaign's state, with the calendars, without a lock.

        Args:
            ref: the campaign's id or uuid.
            now: the instant of the decision; the database clock by default.
        """
        async with self._database.transaction() as connection:
            rows = await rows_of(connection, _campaign_select(isinstance(ref, UUID)), ref=ref)
            if not rows:
                raise campaign_not_found(ref)
            snapshot = await _read_snapshot(connection, campaign_from(rows[0]), now)
            return replace(snapshot, calendars=await load_calendars(connection))


@cache
def _locking_select(by_uuid: bool) -> sa.Select[Any]:
    return _campaign_select(by_uuid).with_for_update()


def _campaign_select(by_uuid: bool) -> sa.Select[Any]:
    column = campaigns.c.uuid if by_uuid else campaigns.c.id
    return sa.select(campaigns).where(column == sa.bindparam("ref"))


def _snapshot_select() -> sa.Select[Any]:
    definition, timer = schedule_definitions.alias("d"), timers.alias("t")
    campaign_id = sa.bindparam("campaign_id", type_=sa.BigInteger)
    last = (
        sa.select(sa.func.max(runs.c.scheduled_for))
        .where(
            runs.c.campaign_id == definition.c.campaign_id,
            runs.c.cause == "schedule",
            runs.c.scheduled_for >= definition.c.anchor_at,
        )
        .scalar_subquery()
    )
    return (
        sa.select(
            definition,
            timer.c.fire_at,
            timer.c.scheduled_for,
            timer.c.local,
            timer.c.kind.label("event_kind"),
            last.label("last_at"),
            sa.func.clock_timestamp().label("clock"),
        )
        .select_from(sa.text("(SELECT 1) AS one"))
        .outerjoin(definition, definition.c.campaign_id == campaign_id)
        .outerjoin(timer, timer.c.campaign_id == campaign_id)
    )


_SNAPSHOT = _snapshot_select()


async def _read_snapshot(
    connection: AsyncConnection,
    campaign: Campaign,
    now: datetime | None,
) -> Snapshot:
    (row,) = await rows_of(connection, _SNAPSHOT, campaign_id=campaign.id)
    current = None
    if row.revision is not None:
        current = CurrentSchedule(ScheduleSource(row.source), row.body, schedule_from(row))
    armed = due_at = None
    if row.fire_at is not None:
        armed, due_at = timer_from(row)
    return Snapshot(
        campaign,
        now or row.clock,
        current,
        armed,
        row.last_at,
        row.revision,
        row.saved_at,
        due_at,
    )
