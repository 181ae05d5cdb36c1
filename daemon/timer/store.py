"""What the timer asks of the database: everything that is due soon or overdue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from daemon.domain.run.attempt import ArmedEvent, OverdueEvent, PendingRun, PollResult
from daemon.domain.schedule.calendars import CalendarSet


class TimerStore(Protocol):
    """Reads armed events and pending runs; the only way from the database into the timer."""

    async def events_between(
        self,
        since: tuple[datetime, int],
        until: datetime,
        shards: Sequence[int],
        max_rows: int,
    ) -> list[ArmedEvent]:
        """Return events of ``shards`` after ``since`` (instant, campaign id), before ``until``."""
        ...

    async def events_of(self, campaign_ids: Sequence[int], until: datetime) -> list[ArmedEvent]:
        """Return the events of these campaigns that are due before an instant."""
        ...

    async def overdue_events(
        self,
        since: tuple[datetime, int],
        before: datetime,
        max_rows: int,
        without: Sequence[str],
    ) -> list[OverdueEvent]:
        """Return events of any shard due after ``since`` and before an instant.

        Events of the targets in ``without`` are left out.
        """
        ...

    async def pending_runs(
        self,
        since: tuple[datetime, int, datetime],
        until: datetime,
        overdue_before: datetime,
        shards: Sequence[int],
        max_rows: int,
        without: Sequence[str],
    ) -> list[PendingRun]:
        """Return pending runs after ``since`` and due before ``until``, of ``shards`` or overdue.

        Runs of the targets in ``without`` are left out.
        """
        ...

    async def poll(
        self,
        xmin: str,
        overdue_before: datetime,
        until: datetime,
        max_rows: int,
    ) -> PollResult:
        """Return whether there is anything to load: edited since ``xmin``, overdue or pending."""
        ...

    async def calendars(self) -> CalendarSet:
        """Return all shared calendars, at least as new as their revision."""
        ...
