"""Loading what is due: the one way into the timer, whatever the reason to load."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from daemon.domain.run.attempt import ArmedEvent, OverdueEvent, PendingRun, PollResult
from daemon.domain.schedule.schedule import EventKind, TimedEvent
from storage.engine import Database
from storage.queries import query
from storage.schedule_rows import schedule_from


class Timers:
    """Reads armed events and waiting runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _rows(self, name: str, binds: dict[str, Any]) -> Sequence[Any]:
        async with self._database.statement() as connection:
            return (await connection.execute(query(name), binds)).all()

    async def events_between(
        self,
        since: tuple[datetime, int],
        until: datetime,
        shards: Sequence[int],
        max_rows: int,
    ) -> list[ArmedEvent]:
        """Events of ``shards`` after ``since`` (instant, campaign id) and due before ``until``.

        In that order, at most ``max_rows``.
        """
        binds = {
            "since": since[0],
            "since_id": since[1],
            "until": until,
            "shards": list(shards),
            "max_rows": max_rows,
        }
        return [armed_from(row) for row in await self._rows("load_timers_between", binds)]

    async def overdue_events(
        self,
        since: tuple[datetime, int],
        before: datetime,
        max_rows: int,
        without: Sequence[str],
    ) -> list[OverdueEvent]:
        """Return events of any shard after ``since`` and due before an instant.

        In the order of (instant, campaign id), at most ``max_rows``.
        """
        binds = {
            "since": since[0],
            "since_id": since[1],
            "before": before,
            "max_rows": max_rows,
            "full_targets": list(without),
        }
        return [OverdueEvent(*row) for row in await self._rows("look_for_overdue", binds)]

    async def events_of(self, campaign_ids: Sequence[int], until: datetime) -> list[ArmedEvent]:
        """Events of the named campaigns due before an instant."""
        binds = {"campaign_ids": list(campaign_ids), "until": until}
        return [armed_from(row) for row in await self._rows("load_timers_of", binds)]

    async def poll(
        self,
        xmin: str,
        overdue_before: datetime,
        until: datetime,
        max_rows: int,
    ) -> PollResult:
        """Whether there is anything to load: written since ``xmin``, overdue, or waiting."""
        binds = {
            "xmin": xmin,
            "overdue_before": overdue_before,
            "until": until,
            "max_rows": max_rows,
        }
        (row,) = await self._rows("look_for_work", binds)
        return PollResult(row.xmin, row.campaign_ids, row.overdue, row.waiting)

    async def pending_runs(
        self,
        since: tuple[datetime, int, datetime],
        until: datetime,
        overdue_before: datetime,
        shards: Sequence[int],
        max_rows: int,
        without: Sequence[str],
    ) -> list[PendingRun]:
        """Runs that wait, due after ``since`` and before ``until``, of ``shards`` or overdue.

        In the order of (instant, campaign id, scheduled for), at most ``max_rows``, and none of
        the targets in ``without``.
        """
        binds = {
            "since": since[0],
            "since_id": since[1],
            "since_scheduled_for": since[2],
            "until": until,
            "overdue_before": overdue_before,
            "shards": list(shards),
            "max_rows": max_rows,
            "without": list(without),
        }
        return [
            PendingRun(row.campaign_id, row.scheduled_for, row.next_attempt_at, row.target)
            for row in await self._rows("load_attempts", binds)
        ]


def armed_from(row: Any) -> ArmedEvent:
    """A row of the view of armed timers as the timer holds it."""
    return ArmedEvent(
        row.campaign_id,
        row.uuid,
        row.revision,
        TimedEvent(EventKind(row.event_kind), row.fire_at, row.local),
        schedule_from(row),
        row.target,
    )
