"""Loads armed events and pending runs: the only source of the timer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from daemon.domain.run.attempt import ArmedEvent, OverdueEvent, PendingRun, PollResult
from daemon.domain.schedule.calendars import CalendarSet
from storage.calendar_rows import load_calendar_set
from storage.engine import Database
from storage.schedule_rows import schedule_from, timer_from

MARKS_AT_ONCE = 1000
"""Schedules corrected in one transaction, which keeps their rows locked."""


class Timers:
    """Reads armed events and pending runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events_between(
        self,
        since: tuple[datetime, int],
        until: datetime,
        shards: Sequence[int],
        max_rows: int,
    ) -> list[ArmedEvent]:
        """Return events of ``shards`` after ``since`` and due before ``until``.

        The order is (instant, campaign id); at most ``max_rows`` events.
        """
        binds = {
            "since": since[0],
            "since_id": since[1],
            "until": until,
            "shards": list(shards),
            "max_rows": max_rows,
        }
        return [
            armed_event_from(row)
            for row in await self._database.rows("load_events_between", **binds)
        ]

    async def overdue_events(
        self,
        since: tuple[datetime, int],
        before: datetime,
        max_rows: int,
        full_targets: Sequence[str],
    ) -> list[OverdueEvent]:
        """Return events of any shard after ``since`` and due before an instant.

        The order is (instant, campaign id); at most ``max_rows`` events.
        """
        binds = {
            "since": since[0],
            "since_id": since[1],
            "before": before,
            "max_rows": max_rows,
            "full_targets": list(full_targets),
        }
        return [OverdueEvent(*row) for row in await self._database.rows("find_overdue", **binds)]

    async def events_of(self, campaign_ids: Sequence[int], until: datetime) -> list[ArmedEvent]:
        """Return events of the given campaigns that are due before ``until``."""
        binds = {"campaign_ids": list(campaign_ids), "until": until}
        return [
            armed_event_from(row) for row in await self._database.rows("load_events_of", **binds)
        ]

    async def poll(
        self,
        xmin: str,
        overdue_before: datetime,
        until: datetime,
        max_rows: int,
    ) -> PollResult:
        """Return what there is to load: schedules written since ``xmin``, overdue events, runs."""
        binds = {
            "xmin": xmin,
            "overdue_before": overdue_before,
            "until": until,
            "max_rows": max_rows,
        }
        (row,) = await self._database.rows("poll_work", **binds)
        return PollResult(
            row.xmin,
            row.campaign_ids,
            row.overdue,
            row.waiting,
            snapshot=row.snapshot,
            brakes_at=row.brakes_at,
            pause_over=row.pause_over,
            calendars_revision=row.calendars_revision,
        )

    async def calendars(self) -> CalendarSet:
        """Return all shared calendars, at least as new as their revision."""
        async with self._database.transaction() as connection:
            return await load_calendar_set(connection)

    async def correct_change_marks(self) -> int:
        """Correct marks of changes from another server, as a restored dump has them.

        Returns:
            The number of corrected schedules.
        """
        corrected = 0
        while True:
            rows = await self._database.rows("correct_change_marks", max_rows=MARKS_AT_ONCE)
            corrected += len(rows)
            if len(rows) < MARKS_AT_ONCE:
                return corrected

    async def pending_runs(
        self,
        since: tuple[datetime, int, datetime],
        until: datetime,
        overdue_before: datetime,
        shards: Sequence[int],
        max_rows: int,
        full_targets: Sequence[str],
    ) -> list[PendingRun]:
        """Return pending runs after ``since`` and due before ``until``, of ``shards`` or overdue.

        The order is (instant, campaign id, scheduled for); at most ``max_rows`` runs, and no run
        of ``full_targets``.
        """
        binds = {
            "since": since[0],
            "since_id": since[1],
            "since_scheduled_for": since[2],
            "until": until,
            "overdue_before": overdue_before,
            "shards": list(shards),
            "max_rows": max_rows,
            "full_targets": list(full_targets),
        }
        return [
            PendingRun(row.campaign_id, row.scheduled_for, row.next_attempt_at, row.target)
            for row in await self._database.rows("load_pending_runs", **binds)
        ]


def armed_event_from(row: Any) -> ArmedEvent:
    """Return the ArmedEvent that a row of ``armed_timers`` holds."""
    return ArmedEvent(
        row.campaign_id,
        row.uuid,
        row.revision,
        timer_from(row)[0],
        schedule_from(row),
        row.target,
        row.fire_at,
    )
