"""Reads what the console's calendar shows: past runs, and whether a schedule has changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from daemon.domain.campaign.state_machine import Status
from daemon.domain.read_models import RunDetail, RunsOfPeriod
from storage.campaign_reads import run_detail_from
from storage.engine import Database
from storage.tables import campaigns, schedule_definitions

_VERSION = sa.select(
    sa.func.max(schedule_definitions.c.changed_in).label("newest"),
    sa.func.count().label("schedules"),
)
_CURRENT = sa.select(campaigns.c.id, campaigns.c.name, campaigns.c.status).where(
    campaigns.c.id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.BigInteger)))
)


class CalendarReads:
    """Reads of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> tuple[str, int]:
        """Return a value that changes with every change of a schedule by a command."""
        (row,) = await self._database.rows(_VERSION)
        return str(row.newest), row.schedules

    async def names(self, ids: Sequence[int]) -> dict[int, tuple[str, Status]]:
        """Return the present names and statuses of campaigns."""
        rows = await self._database.rows(_CURRENT, ids=list(ids))
        return {row.id: (row.name, Status(row.status)) for row in rows}

    async def runs_of_periods(
        self, bounds: Sequence[datetime], keep: int, campaign_ids: Sequence[int] | None = None
    ) -> list[RunsOfPeriod]:
        """Return the runs of each period between two bounds.

        A run that was claimed more than a week after the last bound is left out.

        Args:
            bounds: aware instants in ascending order.
            keep: the number of runs to list in each period.
            campaign_ids: of the campaigns; None for all.
        """
        binds: dict[str, Any] = {
            "bounds": list(bounds),
            "since": bounds[0],
            "until": bounds[-1],
            "campaign_ids": None if campaign_ids is None else list(campaign_ids),
        }
        counts: list[dict[str, int]] = [{} for _ in bounds[1:]]
        first: list[list[RunDetail]] = [[] for _ in bounds[1:]]
        for row in await self._database.rows("count_runs_of_periods", **binds):
            counts[row.period - 1][row.status] = row.runs
        for row in await self._database.rows("list_runs_of_periods", **binds, max_rows=keep):
            first[row.period - 1].append(run_detail_from(row))
        return [RunsOfPeriod(each, tuple(runs)) for each, runs in zip(counts, first, strict=True)]
