"""Stored instants are derived data: computed anew once this machine has newer time-zone data.

Spec section 4. The input as given is read again; wall-clock times stay, instants move.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from daemon.domain.errors import CampaigndError
from daemon.domain.ports import Emit
from daemon.domain.requests import Context, Past, save_schedule, update_schedule
from daemon.domain.schedule.schedule import CampaignType, EventKind, Schedule, ScheduleSource
from daemon.domain.schedule.timezones import resolve, tzdata_version, zone
from storage.engine import Database
from storage.queries import query
from storage.schedule_rows import columns_of, schedule_from
from storage.tables import campaigns, revision_seq, runs, schedule_definitions, timers
from storage.without_orm import AsyncConnection

BATCH = 200
"""Schedules looked at in one transaction, while nobody else writes them."""
AT_ONCE = 10_000
"""Schedules whose order is settled at once; what is saved meanwhile comes after them."""
TURN = 20
"""Schedules read before the event loop may go on."""
_RELEASE = re.compile(r"[0-9]{4}[a-z]{1,2}")
"""IANA's names of releases, which sort by age."""


LONGEST_BESIDE = timedelta(days=1)
"""How far back is looked when a node with older data is there already."""

LONGEST_CLAIM = timedelta(seconds=10)
"""What was claimed this long before a look may not have been seen by it yet."""

_OLDER = sa.text(
    "SELECT clock_timestamp() AS now,"
    " (SELECT min(tzdata) FROM nodes WHERE tzdata < CAST(:running AS text)) AS older"
)


class TzdataRefresh:
    """Brings up to date what was stored under older time-zone data, what is due soonest first.

    Again and again: a node with older data may be at work, and a person may save with such data.
    What such a node plans when it claims does not say so: while there is one, and once more when it
    is gone, the campaigns claimed since the last look are looked at.
    """

    def __init__(self, database: Database, emit: Emit) -> None:
        self._database = database
        self._emit = emit
        self._looked_at = self._moved = 0
        self._since: datetime | None = None
        self._older: str | None = None

    async def begin(self, horizon: timedelta, *, longest: float) -> None:
        """Before a node fires: the first of them, and those due within ``horizon``.

        Args:
            longest: seconds after which it ends all the same.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await self._renew(
                    lambda row: row.fire_at is None or row.fire_at > row.now + horizon
                )

    async def look(self) -> None:
        """Bring up to date all that was stored since the last look."""
        await self._renew(lambda _row: False)
        running = tzdata_version()
        if not _RELEASE.fullmatch(running):
            return
        async with self._database.statement() as connection:
            row = (await connection.execute(_OLDER, {"running": running})).one()
        if row.older is not None and self._older is None:
            self._emit("tzdata_differs", tzdata=running, others=row.older)
        if row.older is not None or self._older is not None:
            since = self._since or row.now - LONGEST_BESIDE
            await recheck(self._database, self._emit, since)
        self._older, self._since = row.older, row.now - LONGEST_CLAIM

    async def _renew(self, is_enough: Callable[[Any], bool]) -> None:
        running = tzdata_version()
        if not _RELEASE.fullmatch(running):
            return  # data without a release name: whether it is newer can not be told
        is_stale = schedule_definitions.c.tzdata < running
        while True:
            async with self._database.statement() as connection:
                stale = (await connection.execute(_in_order(is_stale))).all()
            for start in range(0, len(stale), BATCH):
                ids = [row.campaign_id for row in stale[start : start + BATCH]]
                if self._looked_at and is_enough(stale[start]):
                    return
                done = await _renew(self._database, ids, is_stale, running, self._emit)
                self._looked_at += done.looked_at
                self._moved += done.moved
            if len(stale) < AT_ONCE:
                break
        if self._looked_at:
            self._emit(
                "tzdata_updated", tzdata=running, schedules=self._looked_at, moved=self._moved
            )
        self._looked_at = self._moved = 0


async def recheck(database: Database, emit: Emit, since: datetime) -> int:
    """Bring the timers of campaigns claimed since then up to date; how many instants moved."""
    running, last, moved = tzdata_version(), 0, 0
    definition = schedule_definitions.c
    is_claimed = sa.and_(
        definition.campaign_id.in_(sa.select(runs.c.campaign_id).where(runs.c.claimed_at >= since)),
        definition.tzdata == running,
        definition.every_seconds.is_(None),  # those are reckoned without a zone
    )
    while True:
        some = sa.select(definition.campaign_id).where(definition.campaign_id > last, is_claimed)
        async with database.statement() as connection:
            found = await connection.execute(some.order_by(definition.campaign_id).limit(BATCH))
            ids = [row.campaign_id for row in found.all()]
        if ids:
            moved += (await _renew(database, ids, is_claimed, running, emit)).moved
        if len(ids) < BATCH:
            return moved
        last = ids[-1]


def _in_order(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    definition, timer = schedule_definitions.c, timers.c
    return (
        sa.select(definition.campaign_id, timer.fire_at, sa.func.clock_timestamp().label("now"))
        .outerjoin(timers, timer.campaign_id == definition.campaign_id)
        .where(condition)
        .order_by(timer.fire_at.asc().nulls_last(), definition.campaign_id)
        .limit(AT_ONCE)
    )


def _stored(condition: sa.ColumnElement[bool], ids: Sequence[int]) -> sa.Select[Any]:
    definition, timer = schedule_definitions.c, timers.c
    return (
        sa.select(
            schedule_definitions,
            campaigns.c.uuid.label("campaign_uuid"),
            campaigns.c.type.label("campaign_type"),
            campaigns.c.timezone.label("campaign_timezone"),
            timer.fire_at,
            timer.local,
            timer.kind.label("event_kind"),
        )
        .join(campaigns, campaigns.c.id == definition.campaign_id)
        .outerjoin(timers, timer.campaign_id == definition.campaign_id)
        .where(definition.campaign_id.in_(ids), condition)
        .order_by(definition.campaign_id)
    )


class _Done(NamedTuple):
    looked_at: int
    moved: int


async def _renew(
    database: Database,
    ids: Sequence[int],
    condition: sa.ColumnElement[bool],
    running: str,
    emit: Emit,
) -> _Done:
    """Bring these up to date, as far as the condition still holds, in one transaction."""
    moved, same = 0, []
    async with database.transaction() as connection:
        # The campaign's row is the lock that every other writer takes first. What was written while
        # it was waited for, a statement of its own sees: its snapshot is taken after.
        await connection.execute(query("lock_campaigns"), {"campaign_ids": ids})
        rows = (await connection.execute(_stored(condition, ids))).all()
        for number, row in enumerate(rows, start=1):
            if number % TURN == 0:
                await asyncio.sleep(0)
            was = schedule_from(row)
            now_is = _readable(row, was, emit)
            fire_at = row.fire_at if now_is is None else _instant(row, was, now_is)
            changes = {} if now_is is None else _changes(row, now_is)
            if fire_at == row.fire_at and (row.tzdata == running or not changes):
                same.append(row.campaign_id)
            else:
                await _write(connection, row, {**changes, "tzdata": running}, fire_at)
            if fire_at != row.fire_at:
                moved += 1
                emit(
                    "instants_moved",
                    campaign_id=row.campaign_id,
                    campaign_uuid=row.campaign_uuid,
                    timezone=was.timezone,
                    local=row.local.isoformat(),
                    was=row.fire_at,
                    now=fire_at,
                )
        # Most lie in zones of which the newer data says nothing new.
        await connection.execute(
            sa.update(schedule_definitions)
            .where(
                schedule_definitions.c.campaign_id.in_(same),
                schedule_definitions.c.tzdata < running,
            )
            .values(tzdata=running),
        )
    return _Done(len(rows), moved)


def _readable(row: Any, was: Schedule, emit: Emit) -> Schedule | None:
    """The schedule under the new data; None, and told, if it means nothing there."""
    try:
        return _read_again(row, was)
    except (CampaigndError, LookupError, ValueError) as error:
        # One schedule that can not be read any more must not keep the daemon from the others.
        emit(
            "schedule_invalid",
            campaign_id=row.campaign_id,
            campaign_uuid=row.campaign_uuid,
            timezone=was.timezone,
            error=str(error),
        )
        return None


def _changes(row: Any, now_is: Schedule) -> dict[str, Any]:
    columns = columns_of(now_is)
    return {
        name: value
        for name, value in columns.items()
        if name != "tzdata" and value != getattr(row, name)
    }


async def _write(
    connection: AsyncConnection, row: Any, columns: dict[str, Any], fire_at: datetime | None
) -> None:
    campaign_id = row.campaign_id
    if fire_at is not None:
        # What a node holds of it is stale, whichever of its instants moved.
        columns["revision"] = await connection.scalar(sa.select(revision_seq.next_value()))
        columns["changed_in"] = sa.func.pg_current_xact_id()
        await connection.execute(
            sa.update(timers)
            .where(timers.c.campaign_id == campaign_id)
            .values(fire_at=fire_at, revision=columns["revision"]),
        )
    await connection.execute(
        sa.update(schedule_definitions)
        .where(schedule_definitions.c.campaign_id == campaign_id)
        .values(columns),
    )


def _read_again(row: Any, was: Schedule) -> Schedule:
    read = save_schedule if row.source == ScheduleSource.SCHEDULE else update_schedule
    context = Context(
        now=row.saved_at,
        campaign_type=CampaignType(row.campaign_type),
        campaign_timezone=was.timezone,
        continuous_interval=was.every_seconds or 300,
        misfire_grace_time=was.misfire_grace_time,
        anchor=row.anchor_local,
        past=Past.ANY,
    )
    again = read(row.body, context).schedule
    if again is None:
        raise ValueError(f"campaign {row.campaign_id}: its stored body has no schedule")
    return again._replace(overlap=was.overlap, coalesce=was.coalesce)


def _instant(row: Any, was: Schedule, now_is: Schedule) -> Any:
    """The timer's instant under the new data, from its wall-clock time where it has one."""
    if row.fire_at is None:
        return None
    if row.event_kind == EventKind.CLOSE:
        return now_is.ends_at
    if now_is.rule is None or row.event_kind == EventKind.OPEN:
        # Once, opening, or every so many seconds: it moves with the anchor.
        return row.fire_at + (now_is.anchor_at - was.anchor_at)
    if row.local == now_is.anchor_local:
        return now_is.anchor_at
    return resolve(row.local, zone(now_is.timezone))
