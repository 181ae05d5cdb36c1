"""The schedules of all campaigns, expanded to periods of a calendar, and kept until one changes."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request

from daemon.api.ports import CalendarReader, ScheduleReader
from daemon.domain.campaign.state_machine import Status
from daemon.domain.listing import CampaignFilter
from daemon.domain.occurrences import ScheduledCampaign
from daemon.domain.schedule.expansion import Period, expand
from daemon.domain.schedule.zone_data import tzdata_version
from daemon.runtime.clock import SystemClock

MOST = 50_000
"""Maximum armed schedules, and drafts, that a calendar shows; the soonest, and the newest."""
_clock = SystemClock()
_EVER = datetime(9999, 1, 1, tzinfo=UTC)
_KEPT = 32
"""Maximum expansions in memory."""


@dataclass(frozen=True, slots=True)
class CalendarFilter:
    """Which campaigns a calendar shows."""

    text: str = ""
    drafts: bool = False

    def includes(self, campaign: ScheduledCampaign) -> bool:
        """Return whether the calendar shows a campaign."""
        if campaign.status is Status.DRAFT and not self.drafts:
            return False
        wanted = self.text.casefold()
        return (
            not wanted
            or wanted in campaign.campaign_name.casefold()
            or wanted in _names_of(campaign)
        )


EVERYTHING = CalendarFilter()


class Planner:
    """Expands schedules in a worker thread, one expansion at a time.

    Args:
        reads: reads whether a schedule has changed.
        schedules: reads the schedules.
    """

    def __init__(self, reads: CalendarReader, schedules: ScheduleReader) -> None:
        self._reads = reads
        self._schedules = schedules
        self._turn = asyncio.Lock()
        self._version: tuple[object, ...] = ()
        self._planned: dict[int, ScheduledCampaign] = {}
        self._expanded: OrderedDict[tuple[object, ...], list[Period]] = OrderedDict()

    async def expand(
        self, bounds: Sequence[datetime], keep: int, shown: CalendarFilter = EVERYTHING
    ) -> list[Period]:
        """Return the occurrences in each period between two bounds; see `expand`."""
        async with self._turn:
            await self._refresh()
            key = (*bounds, keep, shown)
            found = self._expanded.get(key)
            if found is None:
                chosen = [
                    (each.campaign_id, each.schedule, each.next_at)
                    for each in self._planned.values()
                    if shown.includes(each)
                ]
                found = await asyncio.to_thread(expand, chosen, bounds, keep)
                self._expanded[key] = found
                if len(self._expanded) > _KEPT:
                    self._expanded.popitem(last=False)
            else:
                self._expanded.move_to_end(key)
        return found

    async def campaigns(self, shown: CalendarFilter) -> dict[int, ScheduledCampaign]:
        """Return the campaigns that a calendar shows, by id."""
        async with self._turn:
            await self._refresh()
            return {id: each for id, each in self._planned.items() if shown.includes(each)}

    async def near(
        self, start: datetime, end: datetime, target: str, *, but: int
    ) -> tuple[int, str] | None:
        """Return the number of a target's runs in a period, and the campaign of the first one.

        None without such a run. Runs of the campaign `but` do not count, nor paused campaigns.
        """
        async with self._turn:
            await self._refresh()
            others = [
                (each.campaign_id, each.schedule, each.next_at)
                for each in self._planned.values()
                if each.target == target
                and each.campaign_id != but
                and each.status not in (Status.DRAFT, Status.PAUSED)
            ]
            (found,) = await asyncio.to_thread(expand, others, [start, end], 1)
            if not found.count:
                return None
            return found.count, self._planned[found.first[0].campaign_id].campaign_name

    async def zones(self, most: int) -> list[str]:
        """Return the zones of most schedules."""
        async with self._turn:
            await self._refresh()
            zones = Counter(each.schedule.timezone for each in self._planned.values())
        return [name for name, _ in zones.most_common(most)]

    async def _refresh(self) -> None:
        now = _clock.now()
        version = (*await self._reads.version(), tzdata_version())
        if version != self._version:
            everything = CampaignFilter()
            armed = await self._schedules.schedules_until(everything, _EVER, MOST)
            drafts = await self._schedules.draft_schedules(everything, now, MOST)
            self._planned = {each.campaign_id: each for each in (*armed, *drafts)}
            self._expanded.clear()
            self._version = version


def _names_of(campaign: ScheduledCampaign) -> tuple[str, str]:
    return str(campaign.campaign_id), str(campaign.campaign_uuid)


def planner_of(request: Request) -> Planner:
    """Return the application's planner."""
    planner = request.app.state.planner
    assert isinstance(planner, Planner)
    return planner
