"""A campaignd database as an operator sees it: rows to read, and campaigns to store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from daemon.campaign_service import CampaignService, CommandResult
from daemon.domain.schedule.zone_data import tzdata_version
from storage.bulk.importer import Importer
from storage.bulk.planner import ScheduleDefaults
from storage.campaigns import Campaigns
from storage.engine import Database
from tests.support.waiting import PATIENCE_S, wait_until


class CampaignDatabase:
    """One database as an operator sees it, with ways to store campaigns."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = psycopg.connect(
            url, autocommit=True, row_factory=dict_row, application_name="test"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def rows(self, statement: str, *binds: object) -> list[dict[str, Any]]:
        """Return all rows of a statement; none if it returns no rows."""
        done = self.connection.execute(statement.encode(), binds or None)
        return done.fetchall() if done.description else []

    def one(self, statement: str, *binds: object) -> Any:
        """Return the only column of the only row."""
        (row,) = self.rows(statement, *binds)
        (value,) = row.values()
        return value

    def wait_until(self, statement: str, *binds: object, within: float = PATIENCE_S) -> Any:
        """Wait until the statement's one value is true; return it."""
        return wait_until(statement, lambda: self.one(statement, *binds), within)

    def delete_all(self) -> None:
        """Delete every campaign, run and node."""
        self.rows("TRUNCATE campaigns, campaign_events, runs, nodes CASCADE")

    def statuses(self, table: str = "campaigns") -> dict[str, int]:
        """Count the rows of each status."""
        counted = self.rows(f"SELECT status, count(*) AS many FROM {table} GROUP BY status")
        return {row["status"]: row["many"] for row in counted}

    def add_one_offs(self, count: int, at: datetime, *, grace: int = 3600) -> range:
        """Store scheduled one-off campaigns, all due at one instant; return their ids.

        Three statements use less memory than one, in which each foreign key would be checked at the
        end.
        """
        binds = {"count": count, "at": at, "grace": grace, "tzdata": tzdata_version()}
        with self.connection.transaction():
            ids = self.connection.execute(
                """
                SELECT min(id) AS first, max(id) AS last FROM (
                    SELECT nextval(pg_get_serial_sequence('campaigns', 'id')) AS id
                    FROM generate_series(1, %(count)s::integer)
                ) AS drawn
                """,
                binds,
            ).fetchone()
            assert ids is not None
            for statement in _ONE_OFFS:
                self.connection.execute(statement, {**binds, **ids})
        assert ids["last"] - ids["first"] == count - 1
        return range(ids["first"], ids["last"] + 1)

    def import_campaigns(self, lines: Iterable[dict[str, Any]]) -> None:
        """Load campaigns with schedules, like ``campaignd import``."""
        bad: list[str] = []

        async def import_lines() -> None:
            database = Database(self.url)
            loader = Importer(
                database,
                actor="test",
                defaults=ScheduleDefaults(),
                report=lambda number, reason: bad.append(f"{number}: {reason}"),
            )
            try:
                await loader.load(json.dumps(line).encode() for line in lines)
            finally:
                await database.close()

        asyncio.run(import_lines())
        assert not bad, bad[:3]

    def run_command(
        self, act: Callable[[CampaignService], Coroutine[Any, Any, CommandResult]]
    ) -> CommandResult:
        """Carry out one command of an operator, from another process than the daemon's."""

        async def execute() -> CommandResult:
            database = Database(self.url)
            try:
                return await act(CampaignService(Campaigns(database)))
            finally:
                await database.close()

        return asyncio.run(execute())


_ONE_OFFS = (
    """
    INSERT INTO campaigns (id, name, type, status, more_to_come)
    SELECT id, 'campaign ' || id, 'one_time', 'scheduled', true
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS id
    """,
    """
    INSERT INTO schedule_definitions (
        campaign_id, revision, source, body, kind, timezone, tzdata, anchor_at, anchor_local,
        misfire_grace_time, "coalesce", overlap)
    SELECT id, nextval('schedule_revision_seq'), 'schedule', '{}', 'once', 'UTC', %(tzdata)s,
           %(at)s::timestamptz, %(at)s::timestamptz AT TIME ZONE 'UTC', %(grace)s, true, 'skip'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS id
    """,
    """
    INSERT INTO timers (campaign_id, revision, fire_at, local, kind)
    SELECT campaign_id, revision, anchor_at, anchor_local, 'fire'
    FROM schedule_definitions
    WHERE campaign_id BETWEEN %(first)s::bigint AND %(last)s::bigint
    """,
)
