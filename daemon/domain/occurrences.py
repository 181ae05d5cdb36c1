"""The occurrences of all schedules in a stretch of time, in the order in which they come."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from daemon.domain.campaign.state_machine import Status
from daemon.domain.schedule.schedule import CampaignType, EventKind, Schedule

MAX_OCCURRENCES = 10_000
"""Maximum occurrences that one answer lists."""
_STEP = timedelta(microseconds=1)
_CHUNK = 32
"""Occurrences that are computed at a time; most schedules have fewer in a month."""


class ScheduledCampaign(NamedTuple):
    """A campaign with a schedule, as a calendar shows it."""

    campaign_id: int
    campaign_uuid: UUID
    campaign_name: str
    type: CampaignType
    status: Status
    target: str
    schedule: Schedule
    next_at: datetime
    """The armed event's instant; of a draft, now: nothing comes before it."""
    revision: int = 0
    saved_at: datetime | None = None
    """Instant at which the schedule was saved."""


class ComingEvent(NamedTuple):
    """A run to come, or the opening or closing of a window that has no timed runs."""

    at: datetime
    kind: EventKind
    campaign: ScheduledCampaign


def coming_events(
    campaigns: Iterable[ScheduledCampaign], since: datetime, before: datetime
) -> Iterator[ComingEvent]:
    """Yield the events of all campaigns from ``since`` until ``before``, soonest first.

    Each schedule is expanded only as far as the events are taken.
    """
    each = (_events_of(campaign, since, before) for campaign in campaigns)
    return heapq.merge(*each, key=itemgetter(0))


def _events_of(
    campaign: ScheduledCampaign, since: datetime, before: datetime
) -> Iterator[ComingEvent]:
    schedule = campaign.schedule
    after = max(since, campaign.next_at) - _STEP
    if not schedule.has_fires:
        event = schedule.event_after(after)
        while event is not None and event.at < before:
            yield ComingEvent(event.at, event.kind, campaign)
            event = schedule.event_following(event)
        return
    count = _CHUNK
    while instants := schedule.occurrences(after, count):
        for at in instants:
            if at >= before:
                return
            yield ComingEvent(at, EventKind.FIRE, campaign)
        if len(instants) < count:
            return
        after = instants[-1]
        count = min(count * 2, 1024)
