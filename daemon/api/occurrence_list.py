"""Expands schedules to a list of occurrences, in a worker thread and a slice at a time.

The interpreter changes between threads every few milliseconds, so that neither the requests nor
the daemon beside them wait for a long list. One list is expanded at a time in each process.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from daemon.api.ports import Backend
from daemon.domain.formatting import utc_text
from daemon.domain.listing import CampaignFilter
from daemon.domain.occurrences import MAX_OCCURRENCES, ComingEvent, coming_events
from daemon.domain.read_models import RunDetail
from daemon.domain.schedule.schedule import EventKind
from daemon.domain.schedule.timezones import zone

SLICE = 250
"""Occurrences that are expanded before the thread looks whether the request still waits."""
_expansions = ThreadPoolExecutor(1, thread_name_prefix="occurrences")
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

T = TypeVar("T")


class OccurrenceList:
    """One list, from an instant until another.

    Args:
        backend: has the reads.
        wanted: the campaigns whose occurrences are listed.
        since: the beginning, included.
        before: the end, excluded.
        timezone: the zone of the local times.
        limit: maximum occurrences.
    """

    def __init__(
        self,
        backend: Backend,
        wanted: CampaignFilter,
        since: datetime,
        before: datetime,
        timezone: str,
        limit: int,
    ) -> None:
        self._backend = backend
        self._wanted = wanted
        self._since = since
        self._before = before
        self._timezone = timezone
        self._limit = limit

    async def render(self, *, with_drafts: bool) -> bytes:
        """Return the JSON of the list."""
        reads, wanted, most = self._backend.schedules, self._wanted, self._limit + 1
        runs = await reads.runs_between(wanted, self._since, self._before, most)
        campaigns = list(await reads.schedules_until(wanted, self._before, most))
        was_cut = len(campaigns) == most
        if was_cut and any(campaign.next_at < self._since for campaign in campaigns):
            # Those that come before the beginning may have no occurrence in the list.
            campaigns = list(await reads.schedules_until(wanted, self._before, MAX_OCCURRENCES + 1))
            was_cut = len(campaigns) > MAX_OCCURRENCES
        if with_drafts:
            now = (await self._backend.overview()).now
            drafts = await reads.draft_schedules(wanted, now, most)
            was_cut |= len(drafts) == most
            campaigns += drafts
        in_zone = zone(self._timezone)
        items = heapq.merge(
            ((listed.run.scheduled_for, _run_item(listed, in_zone)) for listed in runs),
            (
                (event.at, _coming_item(event, in_zone))
                for event in coming_events(campaigns, self._since, self._before)
            ),
            key=lambda item: item[0],
        )
        texts: list[str] = []
        while len(texts) < most:
            count = min(SLICE, most - len(texts))
            found = await _in_thread(lambda: _encode_next(items, count))  # noqa: B023
            texts += found
            if len(found) < count:
                break
        listed = texts[: self._limit]
        ending = {
            "from": utc_text(self._since),
            "before": utc_text(self._before),
            "timezone": self._timezone,
            "count": len(listed),
            "truncated": was_cut or len(texts) > self._limit,
        }
        return f'{{"items":[{",".join(listed)}],{_encode(ending)[1:]}'.encode()


async def _in_thread(act: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_expansions, act)


def _encode_next(items: Iterator[tuple[datetime, dict[str, Any]]], count: int) -> list[str]:
    return [_encode(item) for _, item in islice(items, count)]


def _run_item(listed: RunDetail, in_zone: ZoneInfo) -> dict[str, Any]:
    run = listed.run
    return {
        "event": EventKind.FIRE,
        "at": utc_text(run.scheduled_for),
        "local": _local_text(run.scheduled_for, in_zone),
        "campaign_id": run.campaign_id,
        "campaign_uuid": str(listed.campaign_uuid),
        "campaign_name": listed.campaign_name,
        "target": listed.target,
        "campaign_status": None,
        "run_id": str(run.id),
        "run_status": run.status,
        "lateness_ms": run.lateness_ms,
    }


def _coming_item(event: ComingEvent, in_zone: ZoneInfo) -> dict[str, Any]:
    campaign = event.campaign
    return {
        "event": event.kind,
        "at": utc_text(event.at),
        "local": _local_text(event.at, in_zone),
        "campaign_id": campaign.campaign_id,
        "campaign_uuid": str(campaign.campaign_uuid),
        "campaign_name": campaign.campaign_name,
        "target": campaign.target,
        "campaign_status": campaign.status,
        "run_id": None,
        "run_status": None,
        "lateness_ms": None,
    }


def _local_text(at: datetime, in_zone: ZoneInfo) -> str | None:
    try:
        return at.astimezone(in_zone).replace(tzinfo=None).isoformat()
    except OverflowError:  # outside the years 1 to 9999
        return None
