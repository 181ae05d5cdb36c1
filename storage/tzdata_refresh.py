"""Recomputes stored instants when this machine has newer time-zone data.

Stored instants are derived data. The stored body is parsed again: wall-clock times stay, instants
move. See docs/semantics.md#occurrences.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.campaign.gated_edits import later_due
from daemon.domain.errors import CampaigndError
from daemon.domain.ports import Emit
from daemon.domain.requests import BodyContext, PastStarts, read_schedule_body, read_update_body
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.daylight_saving import passes
from daemon.domain.schedule.schedule import (
    CampaignType,
    EventKind,
    Schedule,
    ScheduleSource,
    TimedEvent,
)
from daemon.domain.schedule.timezones import resolve, zone
from daemon.domain.schedule.zone_data import tzdata_version
from storage.calendar_rows import load_calendars
from storage.engine import Database
from storage.outcome_rows import lock_campaigns
from storage.schedule_rows import schedule_columns, schedule_from, timer_columns
from storage.tables import campaigns, revision_seq, runs, schedule_definitions, timers

BATCH_SIZE = 200
"""Schedules refreshed in one transaction, which keeps their rows locked."""
LIST_SIZE = 10_000
"""Schedules listed at a time, in order of their next event; later saves join the next list."""
YIELD_EVERY = 20
"""Schedules parsed before the event loop gets a turn."""
_RELEASE = re.compile(r"[0-9]{4}[a-z]{1,2}")
"""Names of IANA releases, which sort by age."""

FIRST_RECHECK = timedelta(days=1)
"""Period of claims that the first check covers when a node with older data is live."""

LONGEST_CLAIM = timedelta(seconds=10)
"""Maximum duration of a claim: the last check may have missed a claim this recent."""

_OLDER = sa.text(
    "SELECT clock_timestamp() AS now,"
    " EXISTS (SELECT FROM schedule_definitions WHERE tzdata < CAST(:running AS text)) AS has_stale,"
    " (SELECT min(tzdata) FROM nodes WHERE tzdata < CAST(:running AS text)) AS older"
)


class TzdataRefresh:
    """Refreshes schedules that were stored under older time-zone data, the next due first.

    The refresh repeats, because a node with older data may be live, or save a schedule. The timers
    that such a node plans carry no mark. While one is live, and once after it has gone, the
    campaigns claimed since the last check are checked too.
    """

    def __init__(self, database: Database, emit: Emit) -> None:
        self._database = database
        self._emit = emit
        self._checked = self._moved = 0
        self._since: datetime | None = None
        self._older: str | None = None

    async def refresh_due(self, horizon: timedelta, *, timeout: float) -> None:
        """Refresh the first batch, and every schedule due within ``horizon``; for start-up.

        Args:
            horizon: the period to refresh.
            timeout: maximum seconds; the rest is left to `refresh`.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._refresh_stale(
                    lambda row: row.fire_at is None or row.fire_at > row.now + horizon
                )

    async def refresh(self) -> None:
        """Refresh every stale schedule; beside a node with older data, also claimed campaigns."""
        running = tzdata_version()
        if not _RELEASE.fullmatch(running):
            return
        async with self._database.statement() as connection:
            row = (await connection.execute(_OLDER, {"running": running})).one()
        if row.has_stale or self._checked:
            await self._refresh_stale(lambda _row: False)
        if row.older is not None and self._older is None:
            self._emit("tzdata_differs", tzdata=running, others=row.older)
        if row.older is not None or self._older is not None:
            since = self._since or row.now - FIRST_RECHECK
            _, is_complete = await recheck_claimed(self._database, self._emit, since)
            if not is_complete:
                self._older, self._since = row.older or self._older, since
                return
        self._older, self._since = row.older, row.now - LONGEST_CLAIM

    async def _refresh_stale(self, is_done: Callable[[Any], bool]) -> None:
        running = tzdata_version()
        if not _RELEASE.fullmatch(running):
            return  # data without a release name, which cannot be compared
        is_stale = schedule_definitions.c.tzdata < running
        while True:
            async with self._database.statement() as connection:
                stale = (await connection.execute(_stale_select(is_stale))).all()
            checked = self._checked
            for start in range(0, len(stale), BATCH_SIZE):
                ids = [row.campaign_id for row in stale[start : start + BATCH_SIZE]]
                if self._checked and is_done(stale[start]):
                    return
                stats = await _refresh_batch(self._database, ids, is_stale, running, self._emit)
                self._checked += stats.checked
                self._moved += stats.moved
            if len(stale) < LIST_SIZE or self._checked == checked:
                break  # the next refresh takes the campaigns that another session has locked
        if self._checked:
            self._emit("tzdata_updated", tzdata=running, schedules=self._checked, moved=self._moved)
        self._checked = self._moved = 0


async def recheck_claimed(database: Database, emit: Emit, since: datetime) -> tuple[int, bool]:
    """Refresh campaigns claimed at or after ``since``.

    Returns:
        The number of moved instants; and whether no campaign was left out, as locked ones are.
    """
    running, last, moved = tzdata_version(), 0, 0
    is_complete = True
    definition = schedule_definitions.c
    is_claimed = sa.and_(
        definition.campaign_id.in_(sa.select(runs.c.campaign_id).where(runs.c.claimed_at >= since)),
        definition.tzdata == running,
        definition.every_seconds.is_(None),  # these are computed without a zone
    )
    while True:
        some = sa.select(definition.campaign_id).where(definition.campaign_id > last, is_claimed)
        async with database.statement() as connection:
            found = await connection.execute(
                some.order_by(definition.campaign_id).limit(BATCH_SIZE)
            )
            ids = [row.campaign_id for row in found.all()]
        if ids:
            stats = await _refresh_batch(database, ids, is_claimed, running, emit)
            moved, is_complete = moved + stats.moved, is_complete and not stats.missed
        if len(ids) < BATCH_SIZE:
            break
        last = ids[-1]
    return moved, is_complete


def _stale_select(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    definition, timer = schedule_definitions.c, timers.c
    return (
        sa.select(definition.campaign_id, timer.fire_at, sa.func.clock_timestamp().label("now"))
        .outerjoin(timers, timer.campaign_id == definition.campaign_id)
        .where(condition)
        .order_by(timer.fire_at.asc().nulls_last(), definition.campaign_id)
        .limit(LIST_SIZE)
    )


def _definitions_select(condition: sa.ColumnElement[bool], ids: Collection[int]) -> sa.Select[Any]:
    definition, timer = schedule_definitions.c, timers.c
    return (
        sa.select(
            schedule_definitions,
            campaigns.c.uuid.label("campaign_uuid"),
            campaigns.c.type.label("campaign_type"),
            campaigns.c.timezone.label("campaign_timezone"),
            timer.fire_at,
            timer.scheduled_for,
            timer.local,
            timer.kind.label("event_kind"),
        )
        .join(campaigns, campaigns.c.id == definition.campaign_id)
        .outerjoin(timers, timer.campaign_id == definition.campaign_id)
        .where(definition.campaign_id.in_(ids), condition)
        .order_by(definition.campaign_id)
    )


class _BatchStats(NamedTuple):
    checked: int
    moved: int
    missed: int
    """Number of campaigns that were deleted, or that another session has locked."""


async def _refresh_batch(
    database: Database,
    ids: Sequence[int],
    condition: sa.ColumnElement[bool],
    running: str,
    emit: Emit,
) -> _BatchStats:
    """Refresh the schedules that still meet the condition, in one transaction."""
    moved, unchanged = 0, []
    async with database.transaction() as connection:
        # Every writer locks the campaign's row first. The next statement sees what the previous
        # holder wrote, because its snapshot is taken under the lock.
        locked = await lock_campaigns(connection, ids)
        rows = (await connection.execute(_definitions_select(condition, locked))).all()
        calendars: Mapping[str, Calendar] = {}
        if any(row.conditions is not None for row in rows):
            calendars = await load_calendars(connection, lock=True)
        for number, row in enumerate(rows, start=1):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            stored = schedule_from(row)
            updated = _read_stored_body_or_none(row, stored, emit)
            timer = None if updated is None else _recomputed_timer(row, stored, updated, calendars)
            fire_at = row.fire_at if timer is None else timer["fire_at"]
            changes = {} if updated is None else _changed_columns(row, updated)
            is_same = timer is None or (fire_at, timer["scheduled_for"]) == (
                row.fire_at,
                row.scheduled_for,
            )
            if is_same and (row.tzdata == running or not changes):
                unchanged.append(row.campaign_id)
            else:
                await _write_changes(connection, row, {**changes, "tzdata": running}, timer)
            if fire_at != row.fire_at:
                moved += 1
                emit(
                    "instants_moved",
                    campaign_id=row.campaign_id,
                    campaign_uuid=row.campaign_uuid,
                    timezone=stored.timezone,
                    local=row.local.isoformat(),
                    was=row.fire_at,
                    now=fire_at,
                )
        # The newer data leaves most zones unchanged.
        await connection.execute(
            sa.update(schedule_definitions)
            .where(
                schedule_definitions.c.campaign_id.in_(unchanged),
                schedule_definitions.c.tzdata < running,
            )
            .values(tzdata=running),
        )
    return _BatchStats(len(rows), moved, len(ids) - len(locked))


def _read_stored_body_or_none(row: Any, stored: Schedule, emit: Emit) -> Schedule | None:
    """Return the schedule under the new data; log and return None if it is invalid there."""
    try:
        return _read_stored_body(row, stored)
    except (CampaigndError, LookupError, ValueError) as error:
        # One invalid schedule must not block the others.
        emit(
            "schedule_invalid",
            campaign_id=row.campaign_id,
            campaign_uuid=row.campaign_uuid,
            timezone=stored.timezone,
            error=str(error),
        )
        return None


def _changed_columns(row: Any, updated: Schedule) -> dict[str, Any]:
    columns = schedule_columns(updated)
    return {
        name: value
        for name, value in columns.items()
        if name != "tzdata" and value != getattr(row, name)
    }


async def _write_changes(
    connection: AsyncConnection, row: Any, columns: dict[str, Any], timer: dict[str, Any] | None
) -> None:
    campaign_id = row.campaign_id
    if timer is not None:
        # Nodes must load the timer again, whichever of its instants moved.
        columns["revision"] = await connection.scalar(sa.select(revision_seq.next_value()))
        columns["changed_in"] = sa.func.pg_current_xact_id()
        columns["armed_from"] = sa.func.greatest(
            sa.func.clock_timestamp(),
            (timer["scheduled_for"] or timer["fire_at"]) - timedelta(microseconds=1),
        )
        await connection.execute(
            sa.update(timers)
            .where(timers.c.campaign_id == campaign_id)
            .values(**timer, revision=columns["revision"]),
        )
    await connection.execute(
        sa.update(schedule_definitions)
        .where(schedule_definitions.c.campaign_id == campaign_id)
        .values(columns),
    )


def _read_stored_body(row: Any, stored: Schedule) -> Schedule:
    read = read_schedule_body if row.source == ScheduleSource.SCHEDULE else read_update_body
    context = BodyContext(
        now=row.saved_at,
        campaign_type=CampaignType(row.campaign_type),
        campaign_timezone=stored.timezone,
        continuous_interval=stored.every_seconds or 300,
        misfire_grace_time=stored.misfire_grace_time,
        anchor=row.anchor_local,
        past=PastStarts.ANY,
    )
    saved = read(row.body, context).schedule
    if saved is None:
        raise ValueError(f"campaign {row.campaign_id}: its stored body has no schedule")
    return saved._replace(overlap=stored.overlap, coalesce=stored.coalesce)


def _recomputed_timer(
    row: Any, stored: Schedule, updated: Schedule, calendars: Mapping[str, Calendar]
) -> dict[str, Any] | None:
    """Return the timer's columns under the new data, None without a timer."""
    if row.fire_at is None:
        return None
    at = _recomputed_instant(row, stored, updated)
    event = TimedEvent(EventKind(row.event_kind), at, row.local)
    return timer_columns(event, later_due(updated, event, calendars))


def _recomputed_instant(row: Any, stored: Schedule, updated: Schedule) -> Any:
    """Return the event's instant under the new data, from its wall-clock time if it has one."""
    if row.event_kind == EventKind.CLOSE:
        return updated.ends_at
    if updated.rule is None or row.event_kind == EventKind.OPEN:
        # A single run, an opening and a continuous run move with the anchor.
        return (row.scheduled_for or row.fire_at) + (updated.anchor_at - stored.anchor_at)
    if row.local == updated.anchor_local:
        return updated.anchor_at
    if updated.dst is None:
        return resolve(row.local, zone(updated.timezone))
    instants = passes(row.local, zone(updated.timezone), updated.dst)
    # Of two passes, the one that was armed.
    return min(instants, key=lambda at: abs(at - (row.scheduled_for or row.fire_at)))
