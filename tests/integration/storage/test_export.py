"""Export: an import loads the exported lines again."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa

from storage.bulk.exporter import export_lines
from storage.bulk.planner import ScheduleDefaults
from storage.tables import campaigns, schedule_definitions, timers
from tests.support.bulk_files import (
    EARLIER,
    LATER,
    NOW,
    ONE_OFF,
    WEEKLY,
    WINDOW,
    export_campaigns,
    import_line,
    load_lines,
    only_campaign,
    open_database,
    select_rows,
)

KINDS: list[Callable[[random.Random], dict[str, Any]]] = [
    lambda _: import_line(),
    lambda r: import_line(schedule=ONE_OFF | {"overlap": r.choice(["skip", "queue", "allow"])}),
    lambda r: import_line(
        schedule={
            "schedule_type": "recurring",
            "timezone": r.choice(["America/New_York", "Asia/Kathmandu"]),
            "recurring_config": {
                "frequency": "monthly",
                "interval": r.randint(1, 5),
                "day_of_month": r.randint(1, 31),
                "time": "02:30",
                "skip": r.choice(["omit", "backward"]),
            },
        }
    ),
    lambda r: import_line(
        schedule={
            "schedule_type": "recurring",
            "recurring_config": {
                "frequency": "daily",
                "interval": r.randint(1, 9),
                "time": "23:59",
                "end_date": "2026-12-31",
            },
        },
        timezone="Europe/London",
    ),
    lambda r: import_line(
        schedule={
            "startdate": "2026-01-31T10:00:00",
            "misfire_grace_time": r.randint(1, 9999),
            "coalesce": False,
            "repeating_schedule_attributes": {
                "interval_unit": "month",
                "day_of_month": r.choice(["nth_day", "nth_weekday", "last_day"]),
            },
        },
        type="recurring",
        timezone="Pacific/Apia",
    ),
    lambda r: import_line(
        schedule={
            "startdate": r.choice([EARLIER, LATER]),
            "recurring_schedule": r.choice(["daily", "continuously"]),
        },
        type="segment_triggered",
    ),
    lambda r: import_line(schedule={"startdate": r.choice([EARLIER, LATER])}, type="live_content"),
    lambda r: import_line(schedule=WINDOW, type="event_triggered", payload={"n": r.random()}),
]
WHAT_RAN = """
UPDATE campaigns SET has_due = true, has_completed = id % 3 = 0 WHERE id % 4 > 0;
UPDATE campaigns SET status = 'paused' WHERE status IN ('scheduled', 'launched') AND id % 5 = 0;
WITH ended AS (
    UPDATE campaigns SET more_to_come = false, has_due = true, has_completed = id % 2 = 0,
        status = CASE id % 6 WHEN 1 THEN 'failed' WHEN 3 THEN 'cancelled' ELSE 'completed' END
    WHERE status IN ('scheduled', 'launched') AND id % 6 IN (1, 2, 3) RETURNING id
) DELETE FROM timers t USING ended WHERE t.campaign_id = ended.id;
UPDATE campaigns SET archived_from = status, status = 'archived'
WHERE status IN ('draft', 'completed', 'failed', 'cancelled') AND id % 7 = 0;
"""


@pytest.mark.parametrize("seed", range(4))
async def test_exported_lines_load_again(new_database_url: Callable[[], str], seed: int) -> None:
    """Statuses, next instants, ids, uuids and content are equal after two rounds."""
    chance = random.Random(seed)
    first, second = new_database_url(), new_database_url()
    given = [chance.choice(KINDS)(chance) for _ in range(300)]
    for number, each in enumerate(given):
        each["campaign"]["name"] = f"campaign {number}"
    defaults = ScheduleDefaults(continuous_interval=77, misfire_grace_time=555)
    tally, bad = await load_lines(first, given, defaults=defaults)
    assert (tally.loaded, bad) == (300, [])
    with psycopg.connect(first, autocommit=True) as connection:
        connection.execute(WHAT_RAN)
    dumped = await export_campaigns(first)
    assert len({each["campaign"]["status"] for each in dumped}) == 8

    # With other defaults: the line holds the settings that it was read with.
    tally, bad = await load_lines(second, dumped)
    assert (tally.loaded, bad) == (300, [])
    assert await export_campaigns(second) == dumped
    facts = sa.select(campaigns.c.id, campaigns.c.more_to_come, timers.c.kind, timers.c.local)
    facts = facts.outerjoin(timers, timers.c.campaign_id == campaigns.c.id).order_by(campaigns.c.id)
    assert await select_rows(second, facts) == await select_rows(first, facts)
    meaning = sa.select(
        *[
            column
            for column in schedule_definitions.c
            if column.name not in ("revision", "changed_in", "saved_at", "armed_from")
        ]
    ).order_by(schedule_definitions.c.campaign_id)
    assert await select_rows(second, meaning) == await select_rows(first, meaning)

    tally, bad = await load_lines(second, dumped, now=NOW + timedelta(days=400))
    assert (tally.unchanged, bad) == (300, [])


async def test_an_open_run_is_not_sent_again(new_database_url: Callable[[], str]) -> None:
    first, second = new_database_url(), new_database_url()
    await load_lines(first, [import_line("weekly", WEEKLY), import_line("once", ONE_OFF)])
    with psycopg.connect(first, autocommit=True) as connection:
        connection.execute(
            "UPDATE campaigns SET status = 'executing', open_runs = 1, has_due = true,"
            " more_to_come = name = 'weekly'"
        )
    await load_lines(second, await export_campaigns(first), now=NOW + timedelta(days=2))
    found = await select_rows(second, sa.select(campaigns).order_by(campaigns.c.name))
    assert [(row.name, row.status, row.open_runs) for row in found] == [
        ("once", "failed", 0),
        ("weekly", "launched", 0),
    ]


async def test_numbers_in_a_payload_come_back_as_they_were(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO campaigns (name, payload) VALUES ('a', '{\"n\": 0.10000000000000000001}')"
        )
    async with open_database(database_url) as database:
        (written,) = [each async for each in export_lines(database)]
    assert '"payload": {"n": 0.10000000000000000001}' in written


async def test_the_uuid_derived_from_a_line_is_stable(database_url: str) -> None:
    """The uuid is part of the format: another release must load a file as the same campaigns."""
    await load_lines(database_url, [import_line("a", payload={"b": 1, "a": 2})])
    assert (await only_campaign(database_url)).uuid == UUID("ffddea01-83a7-5454-9b5f-6fdfcaa7ec89")
