"""Reads what a calendar shows: runs by their scheduled instant, and schedules to expand.

Rows come in pages of `PAGE_ROWS`, so that no other request waits long for the event loop.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from daemon.domain.campaign.state_machine import ARMED, Status
from daemon.domain.listing import CampaignFilter
from daemon.domain.occurrences import ScheduledCampaign
from daemon.domain.read_models import RunDetail
from daemon.domain.schedule.schedule import CampaignType
from storage.campaign_reads import of_campaign, run_detail_from
from storage.campaign_search import campaign_conditions
from storage.engine import Database
from storage.schedule_rows import schedule_from
from storage.tables import campaigns, runs, schedule_definitions, timers

PAGE_ROWS = 500
_CLAIMED_EARLY = timedelta(seconds=1)
"""No run is claimed earlier than this before its scheduled instant."""
_CAMPAIGN = [
    campaigns.c[name].label(f"c_{name}")
    for name in ("id", "uuid", "name", "type", "status", "target")
]


class OccurrenceReads:
    """Reads of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def runs_between(
        self, wanted: CampaignFilter, since: datetime, before: datetime, limit: int
    ) -> list[RunDetail]:
        """Return the runs of matching campaigns by their scheduled instants, earliest first."""
        key = (runs.c.scheduled_for, runs.c.campaign_id)
        statement = (
            sa.select(runs, *of_campaign())
            .join(campaigns, campaigns.c.id == runs.c.campaign_id)
            .where(
                runs.c.scheduled_for >= since,
                runs.c.scheduled_for < before,
                # Implied; by this one the index finds the runs of a stretch that is not long ago.
                runs.c.claimed_at >= since - _CLAIMED_EARLY,
                *campaign_conditions(wanted),
            )
            .order_by(*key)
        )
        found: list[RunDetail] = []
        while len(found) < limit:
            page = statement.limit(min(PAGE_ROWS, limit - len(found)))
            if found:
                last = found[-1].run
                bound = sa.tuple_(
                    sa.literal(last.scheduled_for, key[0].type), sa.literal(last.campaign_id)
                )
                page = page.where(
                    runs.c.scheduled_for >= last.scheduled_for, sa.tuple_(*key) > bound
                )
            rows = await self._database.rows(page)
            found += map(run_detail_from, rows)
            if len(rows) < PAGE_ROWS:
                break
        return found

    async def schedules_until(
        self, wanted: CampaignFilter, before: datetime, limit: int
    ) -> list[ScheduledCampaign]:
        """Return the armed schedules whose next event is before an instant, soonest first."""
        key = (timers.c.fire_at, timers.c.campaign_id)
        statement = (
            sa.select(*_CAMPAIGN, schedule_definitions, timers.c.fire_at.label("next_at"))
            .join(timers, timers.c.campaign_id == campaigns.c.id)
            .join(schedule_definitions, schedule_definitions.c.campaign_id == campaigns.c.id)
            .where(
                timers.c.fire_at < before,
                campaigns.c.status.in_(sorted(ARMED)),
                *campaign_conditions(wanted),
            )
            .order_by(*key)
        )
        found: list[ScheduledCampaign] = []
        while len(found) < limit:
            page = statement.limit(min(PAGE_ROWS, limit - len(found)))
            if found:
                last = found[-1]
                bound = sa.tuple_(sa.literal(last.next_at, key[0].type), last.campaign_id)
                page = page.where(timers.c.fire_at >= last.next_at, sa.tuple_(*key) > bound)
            rows = await self._database.rows(page)
            found += map(_scheduled_campaign_from, rows)
            if len(rows) < PAGE_ROWS:
                break
        return found

    async def draft_schedules(
        self, wanted: CampaignFilter, now: datetime, limit: int
    ) -> list[ScheduledCampaign]:
        """Return the schedules of drafts, newest first; nothing of them comes before ``now``."""
        statement = (
            sa.select(*_CAMPAIGN, schedule_definitions, sa.literal(now).label("next_at"))
            .join(schedule_definitions, schedule_definitions.c.campaign_id == campaigns.c.id)
            .where(campaigns.c.status == Status.DRAFT, *campaign_conditions(wanted))
            .order_by(campaigns.c.id.desc())
        )
        found: list[ScheduledCampaign] = []
        while len(found) < limit:
            page = statement.limit(min(PAGE_ROWS, limit - len(found)))
            if found:
                page = page.where(campaigns.c.id < found[-1].campaign_id)
            rows = await self._database.rows(page)
            found += map(_scheduled_campaign_from, rows)
            if len(rows) < PAGE_ROWS:
                break
        return found


def _scheduled_campaign_from(row: Any) -> ScheduledCampaign:
    return ScheduledCampaign(
        row.c_id,
        row.c_uuid,
        row.c_name,
        CampaignType(row.c_type),
        Status(row.c_status),
        row.c_target,
        schedule_from(row),
        row.next_at,
        row.revision,
        row.saved_at,
    )
