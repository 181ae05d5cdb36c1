"""Stored instants are derived data: computed anew once this machine has newer time-zone data.

Spec section 4. The input as given is read again; wall-clock times stay, instants move.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from daemon.domain.bodies import Context, Past, save_schedule, update_schedule
from daemon.domain.errors import CampaigndError
from daemon.domain.ports import Emit
from daemon.domain.schedule import CampaignType, EventKind, Schedule, Source
from daemon.domain.zones import resolve, tzdata_version, zone
from storage.definitions import columns_of, schedule_from
from storage.engine import Database
from storage.tables import campaigns, revision_seq, runs, schedule_definitions, timers
from storage.without_orm import AsyncConnection

BATCH = 500
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


async def retime(database: Database, emit: Emit) -> int:
    """Bring every schedule stored under older tzdata up to date; how many instants moved."""
    running = tzdata_version()
    if not _RELEASE.fullmatch(running):
        return 0  # data without a release name: whether it is newer can not be told
    looked_at = moved = 0
    while True:
        async with database.transaction() as connection:
            stale = (await connection.execute(_stale(running))).all()
            for row in stale:
                moved += await _retime_one(connection, row, running, emit)
        looked_at += len(stale)
        if len(stale) < BATCH:
            break
    if looked_at:
        emit("tzdata_updated", tzdata=running, schedules=looked_at, moved=moved)
    return moved


class Retiming:
    """Looks at what was stored under older time-zone data, again and again.

    A node with older data may be at work, and a person may save with such data: what is stored
    under it is computed anew. What such a node plans when it claims does not say so: while there is
    one, and once more when it is gone, the campaigns claimed since the last look are looked at.
    """

    def __init__(self, database: Database, emit: Emit) -> None:
        self._database = database
        self._emit = emit
        self._since: datetime | None = None
        self._older: str | None = None

    async def look(self) -> None:
        """Bring up to date what others stored since the last look."""
        running = tzdata_version()
        if not _RELEASE.fullmatch(running):
            return
        await retime(self._database, self._emit)
        async with self._database.statement() as connection:
            row = (await connection.execute(_OLDER, {"running": running})).one()
        if row.older is not None and self._older is None:
            self._emit("tzdata_differs", tzdata=running, others=row.older)
        if row.older is not None or self._older is not None:
            since = self._since or row.now - LONGEST_BESIDE
            await recheck(self._database, self._emit, since)
        self._older, self._since = row.older, row.now - LONGEST_CLAIM


async def recheck(database: Database, emit: Emit, since: datetime) -> int:
    """Bring the timers of campaigns claimed since then up to date; how many instants moved."""
    running, last, moved = tzdata_version(), 0, 0
    claimed = sa.select(runs.c.campaign_id).where(runs.c.claimed_at >= since)
    definition = schedule_definitions.c
    while True:
        statement = _stored().where(
            definition.campaign_id > last,
            definition.campaign_id.in_(claimed),
            definition.tzdata == running,
            definition.every_seconds.is_(None),  # those are reckoned without a zone
        )
        async with database.transaction() as connection:
            rows = (await connection.execute(statement)).all()
            for row in rows:
                moved += await _retime_one(connection, row, running, emit)
        if len(rows) < BATCH:
            return moved
        last = rows[-1].campaign_id


def _stale(running: str) -> sa.Select[Any]:
    return _stored().where(schedule_definitions.c.tzdata < running)


def _stored() -> sa.Select[Any]:
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
        .order_by(definition.campaign_id)
        .limit(BATCH)
        # The campaign's row is the lock that every other writer takes first.
        .with_for_update(of=campaigns)
    )


async def _retime_one(connection: AsyncConnection, row: Any, running: str, emit: Emit) -> int:
    was = schedule_from(row)
    try:
        now_is = _read_again(row, was)
    except (CampaigndError, LookupError, ValueError) as error:
        # One schedule that can not be read any more must not keep the daemon from the others.
        await _mark(connection, row.campaign_id, {}, running)
        emit(
            "schedule_unreadable",
            campaign_id=row.campaign_id,
            campaign_uuid=row.campaign_uuid,
            timezone=was.timezone,
            error=str(error),
        )
        return 0
    columns = columns_of(now_is)
    campaign_id = row.campaign_id
    fire_at = _instant(row, was, now_is)
    if fire_at == row.fire_at and row.tzdata == running:
        return 0
    if fire_at != row.fire_at:
        columns["revision"] = await connection.scalar(sa.select(revision_seq.next_value()))
        columns["changed_in"] = sa.func.pg_current_xact_id()
        await connection.execute(
            sa.update(timers)
            .where(timers.c.campaign_id == campaign_id)
            .values(fire_at=fire_at, revision=columns["revision"]),
        )
    await _mark(connection, campaign_id, columns, running)
    if fire_at == row.fire_at:
        return 0
    emit(
        "instants_moved",
        campaign_id=campaign_id,
        campaign_uuid=row.campaign_uuid,
        timezone=was.timezone,
        local=row.local.isoformat(),
        was=row.fire_at,
        now=fire_at,
    )
    return 1


async def _mark(
    connection: AsyncConnection,
    campaign_id: int,
    columns: dict[str, Any],
    running: str,
) -> None:
    await connection.execute(
        sa.update(schedule_definitions)
        .where(schedule_definitions.c.campaign_id == campaign_id)
        .values({**columns, "tzdata": running}),
    )


def _read_again(row: Any, was: Schedule) -> Schedule:
    read = save_schedule if row.source == Source.SCHEDULE else update_schedule
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
