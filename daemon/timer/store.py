"""What the timer asks of the database: everything that is due soon or overdue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from daemon.domain.run.attempt import ArmedEvent, OverdueEvent, PendingRun, PollResult


class TimerStore(Protocol):
    """Reads what is armed and what waits; the one way into the timer."""

    async def between(
        self,
        since: tuple[datetime, int],
        until: datetime,
        shards: Sequence[int],
        max_rows: int,
    ) -> list[ArmedEvent]:
        """Events of ``shards`` after ``since`` (instant, campaign id), due before ``until``."""
        ...

    async def overdue(
        self, since: tuple[datetime, int], before: datetime, max_rows: int
    ) -> list[OverdueEvent]:
        """Events of any shard after a place in the order and due before an instant."""
        ...

    async def of(self, campaign_ids: Sequence[int], until: datetime) -> list[ArmedEvent]:
        """Events of the named campaigns due before an instant."""
        ...

    async def look(
        self,
        xmin: str,
        overdue_before: datetime,
        until: datetime,
        max_rows: int,
    ) -> PollResult:
        """Whether there is anything to load: written since ``xmin``, overdue, or waiting."""
        ...

    async def waiting(
        self,
        since: tuple[datetime, int, datetime],
        until: datetime,
        overdue_before: datetime,
        shards: Sequence[int],
        max_rows: int,
        without: Sequence[str],
    ) -> list[PendingRun]:
        """Runs after a place in the order and due before an instant, but for some targets."""
        ...
