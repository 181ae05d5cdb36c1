"""Campaigns that are written straight into the tables, because the API would take too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg

from daemon.domain.schedule.zone_data import tzdata_version

CAMPAIGNS = """
INSERT INTO campaigns (name, type, status, more_to_come, target)
SELECT 'campaign ' || n, %(type)s, 'scheduled', true, %(target)s
FROM generate_series(1, %(count)s::integer) AS n
"""
ONCE = """
INSERT INTO schedule_definitions (
    campaign_id, revision, source, body, kind, timezone, tzdata, anchor_at,
    anchor_local, misfire_grace_time, "coalesce", overlap)
SELECT id, nextval('schedule_revision_seq'), 'schedule', '{}', 'once', 'UTC', %(tzdata)s,
       at, at AT TIME ZONE 'UTC', 36000, true, 'skip'
FROM (SELECT id, %(due)s::timestamptz + row_number() OVER (ORDER BY id) * %(apart)s::interval AS at
      FROM campaigns c
      WHERE NOT EXISTS (SELECT FROM schedule_definitions d WHERE d.campaign_id = c.id)) AS c
"""
DAILY = """
INSERT INTO schedule_definitions (
    campaign_id, revision, source, body, kind, timezone, tzdata, anchor_at, anchor_local,
    frequency, repeat_interval, first_on, time_of_day, weekdays, skip,
    misfire_grace_time, "coalesce", overlap)
SELECT id, nextval('schedule_revision_seq'), 'schedule', '{}', 'recurring', 'UTC', %(tzdata)s,
       at, at AT TIME ZONE 'UTC', 'daily', 1, (at AT TIME ZONE 'UTC')::date,
       (at AT TIME ZONE 'UTC')::time, '{}', 'backward', 36000, true, 'skip'
FROM (SELECT id, %(due)s::timestamptz AS at FROM campaigns) AS c
"""
TIMERS = """
INSERT INTO timers (campaign_id, revision, fire_at, local, kind)
SELECT campaign_id, revision, anchor_at, anchor_local, 'fire' FROM schedule_definitions
ON CONFLICT DO NOTHING
"""


def insert_one_offs(
    connection: psycopg.Connection[Any],
    count: int,
    due: datetime,
    target: str = "log",
    apart: timedelta = timedelta(0),
) -> None:
    """Insert scheduled one-off campaigns, due at one instant, or spread evenly after it."""
    binds = {"count": count, "due": due, "apart": apart, "type": "one_time", "target": target}
    _insert(connection, (CAMPAIGNS, ONCE, TIMERS), binds)


def insert_daily(
    connection: psycopg.Connection[Any], count: int, due: datetime, target: str = "log"
) -> None:
    """Insert daily campaigns whose first occurrence is the given instant."""
    binds = {"count": count, "due": due, "type": "recurring", "target": target}
    _insert(connection, (CAMPAIGNS, DAILY, TIMERS), binds)


def _insert(
    connection: psycopg.Connection[Any], statements: Sequence[str], binds: Mapping[str, Any]
) -> None:
    with connection.transaction():
        for statement in statements:
            connection.execute(statement.encode(), {**binds, "tzdata": tzdata_version()})
