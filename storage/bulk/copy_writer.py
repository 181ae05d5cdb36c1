"""Writes a batch of new campaigns by COPY, one each for campaigns, schedules, timers and events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.campaign.state_machine import ARMED
from storage.bulk.planner import PlannedCampaign
from storage.notice import CHANNEL
from storage.schedule_rows import armed_from, calendars_in_use, definition_row, timer_columns

NOTIFICATION_LIMIT = 7900
"""PostgreSQL takes NOTIFY payloads of less than 8000 bytes."""

Row = Sequence[Any]

_CAMPAIGN_COLUMNS = {
    "id": "int8",
    "uuid": "uuid",
    "name": "text",
    "type": "text",
    "status": "text",
    "timezone": "text",
    "target": "text",
    "payload": "jsonb",
    "more_to_come": "bool",
    "has_due": "bool",
    "has_completed": "bool",
    "archived_from": "text",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}
_DEFINITION_COLUMNS = {
    "campaign_id": "int8",
    "revision": "int8",
    "source": "text",
    "body": "jsonb",
    "kind": "text",
    "timezone": "text",
    "tzdata": "text",
    "anchor_at": "timestamptz",
    "anchor_local": "timestamp",
    "frequency": "text",
    "repeat_interval": "int2",
    "first_on": "date",
    "time_of_day": "time",
    "weekdays": "int2[]",
    "month_day": "int2",
    "nth": "int2",
    "skip": "text",
    "every_seconds": "int4",
    "ends_at": "timestamptz",
    "ends_on": "date",
    "misfire_grace_time": "int4",
    "coalesce": "bool",
    "overlap": "text",
    "rrule": "text",
    "saved_at": "timestamptz",
    "armed_from": "timestamptz",
    "conditions": "jsonb",
}
_TIMER_COLUMNS = {
    "campaign_id": "int8",
    "revision": "int8",
    "fire_at": "timestamptz",
    "scheduled_for": "timestamptz",
    "local": "timestamp",
    "kind": "text",
}
_CALENDAR_COLUMNS = {"campaign_id": "int8", "calendar": "text"}
_EVENT_COLUMNS = {
    "campaign_id": "int8",
    "at": "timestamptz",
    "event": "text",
    "to_status": "text",
    "cause": "text",
    "actor": "text",
}


class NumberedCampaign:
    """A new campaign with its id and its schedule's revision."""

    __slots__ = ("id", "new", "revision")

    def __init__(self, new: PlannedCampaign, campaign_id: int, revision: int | None) -> None:
        self.new = new
        self.id = campaign_id
        self.revision = revision


async def write_new_campaigns(
    connection: AsyncConnection, batch: Sequence[NumberedCampaign], actor: str, now: datetime
) -> None:
    """Write campaigns with schedules, timers and event rows, and notify the nodes.

    The rows belong to the transaction of ``connection``. New rows are locked by no other session.
    """
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, psycopg.AsyncConnection)
    scheduled = [item for item in batch if item.new.saved is not None]
    armed = [item for item in scheduled if item.new.timer is not None]
    rows: list[tuple[str, dict[str, str], Iterable[Row]]] = [
        ("campaigns", _CAMPAIGN_COLUMNS, (_campaign_row(item, now) for item in batch)),
        ("schedule_definitions", _DEFINITION_COLUMNS, (_definition_row(i, now) for i in scheduled)),
        ("timers", _TIMER_COLUMNS, (_timer_row(item) for item in armed)),
        ("campaign_events", _EVENT_COLUMNS, (_event_row(item, actor, now) for item in batch)),
    ]
    if in_use := [row for item in scheduled for row in _calendar_rows(item)]:
        rows.append(("schedule_calendars", _CALENDAR_COLUMNS, in_use))
    async with driver.cursor() as cursor:
        for table, columns, values in rows:
            await _copy_rows(cursor, table, columns, values)
        if notification := notification_payload(
            [item.id for item in batch if item.new.status in ARMED]
        ):
            await cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, notification])


def notification_payload(campaign_ids: list[int]) -> str | None:
    """Return the NOTIFY payload; too many campaigns for one payload make it a reload."""
    if not campaign_ids:
        return None
    notification = json.dumps({"campaigns": campaign_ids}, separators=(",", ":"))
    return notification if len(notification) < NOTIFICATION_LIMIT else json.dumps({"reload": True})


async def _copy_rows(
    cursor: psycopg.AsyncCursor[Any], table: str, columns: dict[str, str], rows: Iterable[Row]
) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    async with cursor.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            await copy.write_row(row)


def _campaign_row(item: NumberedCampaign, now: datetime) -> Row:
    new, line = item.new, item.new.line
    return (
        item.id,
        line.uuid,
        line.name,
        new.type.value,
        new.status.value,
        line.timezone,
        line.target,
        line.payload,
        new.more_to_come,
        new.has_due,
        new.has_completed,
        line.archived_from and line.archived_from.value,
        line.created_at or now,
        now,
    )


def _definition_row(item: NumberedCampaign, now: datetime) -> Row:
    assert item.new.saved is not None
    values = {
        **definition_row(item.new.saved, now),
        "armed_from": armed_from(item.new.timer, now),
    }
    return (item.id, item.revision, *[values[name] for name in _DEFINITION_VALUES])


_DEFINITION_VALUES = [
    name for name in _DEFINITION_COLUMNS if name not in ("campaign_id", "revision")
]


def _timer_row(item: NumberedCampaign) -> Row:
    assert item.new.timer is not None
    values = timer_columns(item.new.timer, item.new.due_at)
    return (item.id, item.revision, *values.values())


def _calendar_rows(item: NumberedCampaign) -> Iterator[Row]:
    for name in calendars_in_use(item.new.saved):
        yield item.id, name


def _event_row(item: NumberedCampaign, actor: str, now: datetime) -> Row:
    return (item.id, now, "imported", item.new.status.value, item.new.cause, actor)
