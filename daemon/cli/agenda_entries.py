"""The entries of an agenda from the database."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

from daemon.cli.client import AgendaEntry
from daemon.domain.listing import CampaignFilter
from daemon.domain.occurrences import MAX_OCCURRENCES, coming_events
from daemon.runtime.clock import SystemClock
from storage.engine import Database
from storage.occurrence_reads import OccurrenceReads


async def read_entries(database: Database, since: datetime, before: datetime) -> list[AgendaEntry]:
    """Return runs and occurrences to come, at most 10,000 of each, earliest first."""
    reads, every = OccurrenceReads(database), CampaignFilter()
    past = [
        AgendaEntry(
            found.run.scheduled_for, found.run.campaign_id, found.campaign_name, found.run.status
        )
        for found in await reads.runs_between(every, since, before, MAX_OCCURRENCES)
    ]
    schedules = await reads.schedules_until(every, before, MAX_OCCURRENCES)
    coming = coming_events(schedules, max(since, SystemClock().now()), before)
    future = [
        AgendaEntry(event.at, event.campaign.campaign_id, event.campaign.campaign_name, "to come")
        for event in islice(coming, MAX_OCCURRENCES)
    ]
    seen = {(entry.at, entry.campaign_id) for entry in past}
    return sorted(past + [entry for entry in future if (entry.at, entry.campaign_id) not in seen])
