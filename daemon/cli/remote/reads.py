"""Reads of campaigns and runs over the HTTP API of a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from daemon.cli.remote.http import HttpApi
from daemon.cli.remote.values import (
    campaign_of,
    event_of,
    instant,
    instant_of,
    run_of,
    schedule_of,
    summary_of,
    upcoming_of,
)
from daemon.domain.campaign.model import LoggedEvent
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.read_models import (
    CampaignDetail,
    CampaignSummary,
    Ref,
    RunDetail,
    RunKey,
    UpcomingEvent,
    UpcomingKey,
)
from daemon.domain.schedule.schedule import CampaignType, EventKind, TimedEvent
from daemon.runtime.clock import SystemClock

_PAGE = 500
_SEARCHED_RUNS = 5000
"""Newest runs among which a short id is looked up."""

ItemT = TypeVar("ItemT")


class RemoteReads:
    """Reads over HTTP."""

    def __init__(self, api: HttpApi) -> None:
        self._api = api
        self._cursors: dict[object, str | None] = {}

    async def campaigns(
        self,
        *,
        limit: int,
        before: int | None = None,
        status: Status | None = None,
        type: CampaignType | None = None,
    ) -> list[CampaignSummary]:
        """Return campaigns, newest first."""
        return self._page(
            *(("campaigns",), summary_of, lambda each: each.campaign.id, limit, before),
            status=status,
            type=type,
        )

    async def campaign(self, ref: Ref, *, with_calendars: bool = False) -> CampaignDetail:
        """Return one campaign with its schedule; the calendars are known to the server alone."""
        item = self._api.get("campaigns", ref).body
        found = self._api.get("campaigns", ref, "schedule").body
        campaign = campaign_of(item)
        current = schedule_of(found, campaign)
        explained = self._api.get("campaigns", ref, "explain").body
        timer = None
        if explained["armed"] and explained["next"]:
            first = explained["next"][0]
            local = datetime.fromisoformat(first["local"])
            timer = TimedEvent(EventKind(first["event"]), instant_of(first, "at"), local)
        return CampaignDetail(
            campaign,
            current,
            timer,
            found["rrule"],
            found["revision"],
            instant(found["saved_at"]),
            SystemClock().now(),
        )

    async def runs(
        self,
        *,
        limit: int,
        ref: Ref | None = None,
        status: RunStatus | None = None,
        before: RunKey | None = None,
    ) -> list[RunDetail]:
        """Return runs, newest first."""
        path = ("runs",) if ref is None else ("campaigns", ref, "runs")
        return self._page(path, run_of, lambda each: each.key, limit, before, status=status)

    async def events(self, ref: Ref, *, limit: int) -> list[LoggedEvent]:
        """Return a campaign's newest events."""
        return self._page(("campaigns", ref, "events"), event_of, lambda each: each.id, limit, None)

    async def upcoming(
        self, *, limit: int, after: UpcomingKey | None = None
    ) -> list[UpcomingEvent]:
        """Return the armed event of each campaign, soonest first."""
        return self._page(("upcoming",), upcoming_of, lambda each: each.key, limit, after)

    async def upcoming_of(self, ref: Ref, count: int) -> list[UpcomingEvent]:
        """Return a campaign's next events, from its schedule."""
        shown = await self.campaign(ref)
        if shown.current is None:
            return []
        schedule, campaign = shown.current.schedule, shown.campaign
        event = shown.timer or schedule.event_after(shown.now)
        events: list[UpcomingEvent] = []
        while event is not None and len(events) < count:
            events.append(
                UpcomingEvent(
                    *(campaign.id, campaign.uuid, campaign.name, campaign.type, campaign.status),
                    *(event.kind, event.at, event.local, schedule.timezone),
                )
            )
            event = schedule.event_following(event)
        return events

    async def ids_of_name(self, name: str, limit: int) -> list[int]:
        """Return the ids of campaigns with exactly this name."""
        found = self._pages(("campaigns",), q=name)
        return [item["id"] for item in found if item["name"] == name][:limit]

    async def run_ids_between(self, first: UUID, last: UUID, limit: int) -> list[UUID]:
        """Return the ids of the newest runs from ``first`` to ``last``."""
        ids: list[UUID] = []
        for number, item in enumerate(self._pages(("runs",)), start=1):
            if first <= UUID(item["id"]) <= last:
                ids.append(UUID(item["id"]))
            if number >= _SEARCHED_RUNS or len(ids) >= limit:
                break
        return ids

    def _page(
        self,
        path: tuple[object, ...],
        value: Callable[[Mapping[str, Any]], ItemT],
        key: Callable[[ItemT], object],
        limit: int,
        after: object,
        **query: object,
    ) -> list[ItemT]:
        """Return the items after a key, which was the last one of a page before.

        The API's cursors are kept by that key.
        """
        found: list[ItemT] = []
        cursor = self._cursors.get((path, after)) if after is not None else None
        if after is not None and cursor is None:
            return []
        while len(found) < limit:
            wanted = min(limit - len(found), _PAGE)
            page = self._api.get(*path, limit=wanted, cursor=cursor, **query).body
            found += map(value, page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                break
        if found:
            self._cursors[path, key(found[-1])] = cursor
        return found

    def _pages(self, path: tuple[object, ...], **query: object) -> Iterator[Mapping[str, Any]]:
        cursor = None
        while True:
            page = self._api.get(*path, limit=_PAGE, cursor=cursor, **query).body
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return
