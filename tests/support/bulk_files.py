"""Files to import, and the result of the import."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from storage.bulk.exporter import export_lines
from storage.bulk.importer import ImportCounts, Importer
from storage.bulk.planner import ScheduleDefaults
from storage.engine import Database
from storage.tables import campaigns, timers

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday
LATER = "2026-03-05T09:00:00Z"
EARLIER = "2026-03-01T09:00:00Z"
ONE_OFF = {"schedule_type": "scheduled", "scheduled_at": LATER}
OVER = ONE_OFF | {"scheduled_at": EARLIER}
WEEKLY = {
    "schedule_type": "recurring",
    "recurring_config": {"frequency": "weekly", "days_of_week": [1], "time": "09:00"},
}
WINDOW = {"startdate": EARLIER, "enddate": "2026-04-01T00:00:00Z"}
LoadResult = tuple[ImportCounts, list[tuple[int, str]]]


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=2)
    try:
        yield database
    finally:
        await database.close()


async def load_lines(url: str, lines: Iterable[object], **options: Any) -> LoadResult:
    """Load lines (bytes unchanged, other values as JSON); return the counts and the bad lines."""
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines]
    bad: list[tuple[int, str]] = []
    async with open_database(url) as database:
        task = Importer(
            database,
            actor="test",
            defaults=options.pop("defaults", ScheduleDefaults()),
            report=lambda number, reason: bad.append((number, reason)),
            now=options.pop("now", NOW),
            **options,
        )
        return await task.load(iter(raw)), bad


async def export_campaigns(url: str) -> list[dict[str, Any]]:
    async with open_database(url) as database:
        return [json.loads(line) async for line in export_lines(database)]


async def select_rows(url: str, statement: sa.Select[Any]) -> list[Any]:
    async with open_database(url) as database, database.statement() as connection:
        return list((await connection.execute(statement)).all())


def import_line(name: str = "a", schedule: object = None, **campaign: Any) -> dict[str, Any]:
    return {"campaign": {"name": name, **campaign}, "schedule": schedule}


async def only_campaign(url: str) -> Any:
    (row,) = await select_rows(
        url,
        sa.select(campaigns, timers.c.fire_at, timers.c.kind.label("event")).outerjoin(
            timers, timers.c.campaign_id == campaigns.c.id
        ),
    )
    return row


NEXT_MONDAY = datetime(2026, 3, 9, 9, tzinfo=UTC)
