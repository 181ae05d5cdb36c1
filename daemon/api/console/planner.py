"""The schedules of all campaigns, expanded to periods of a calendar, and kept until one changes."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from starlette.requests import Request

from daemon.api.ports import CalendarReader, ScheduleReader
from daemon.domain.campaign.state_machine import Status
from daemon.domain.listing import CampaignFilter
from daemon.domain.occurrences import ScheduledCampaign
from daemon.domain.read_models import RunsOfPeriod
from daemon.domain.schedule.expansion import Period, expand
from daemon.domain.schedule.schedule import Schedule
from daemon.domain.schedule.zone_data import tzdata_version
from daemon.runtime.clock import SystemClock

K = TypeVar("K")
V = TypeVar("V")
MOST = 50_000
"""Maximum armed schedules, and drafts, that a calendar shows; the soonest, and the newest."""
_KEPT = 32
"""Maximum expansions in memory."""
_OVER = timedelta(days=1)
"""Time after its end in which the runs of a day still change often."""
_KEPT_S = 60.0
"""Seconds for which the runs of older days are kept."""
_EVER = datetime(9999, 1, 1, tzinfo=UTC)
_clock = SystemClock()


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
        names = (str(campaign.campaign_id), str(campaign.campaign_uuid))
        return wanted in campaign.campaign_name.casefold() or wanted in names


EVERYTHING = CalendarFilter()


class Plan:
    """The schedules as they were at one instant. Expansions run in a thread, one at a time.

    Args:
        campaigns: the campaigns with a schedule.
        turn: held by the expansion that runs.
    """

    def __init__(self, campaigns: Sequence[ScheduledCampaign], turn: asyncio.Lock) -> None:
        self._campaigns = {each.campaign_id: each for each in campaigns}
        self._turn = turn
        self._chosen: OrderedDict[CalendarFilter, Mapping[int, ScheduledCampaign]] = OrderedDict()
        self._expanded: OrderedDict[tuple[object, ...], list[Period]] = OrderedDict()

    def campaigns(self, shown: CalendarFilter) -> Mapping[int, ScheduledCampaign]:
        """Return the campaigns that a calendar shows, by id."""
        found = self._chosen.get(shown)
        if found is None:
            found = {id: each for id, each in self._campaigns.items() if shown.includes(each)}
            _keep(self._chosen, shown, found)
        return found

    async def expand(
        self, bounds: Sequence[datetime], keep: int, shown: CalendarFilter = EVERYTHING
    ) -> list[Period]:
        """Return the occurrences in each period between two bounds; see `expand`."""
        key = (*bounds, keep, shown)
        async with self._turn:
            found = self._expanded.get(key)
            if found is None:
                chosen = self.campaigns(shown).values()
                found = await asyncio.to_thread(expand, _schedules(chosen), bounds, keep)
                _keep(self._expanded, key, found)
        return found

    async def near(
        self, start: datetime, end: datetime, target: str, *, but: int
    ) -> tuple[int, str] | None:
        """Return the number of a target's runs in a period, and the campaign of the first one.

        None without such a run. Runs of the campaign `but` do not count, nor paused campaigns.
        """
        others = [
            each
            for each in self.campaigns(EVERYTHING).values()
            if each.target == target
            and each.campaign_id != but
            and each.status is not Status.PAUSED
        ]
        async with self._turn:
            (found,) = await asyncio.to_thread(expand, _schedules(others), [start, end], 1)
        if not found.count:
            return None
        return found.count, self._campaigns[found.first[0].campaign_id].campaign_name

    def zones(self, most: int) -> list[str]:
        """Return the zones of most schedules."""
        zones = Counter(each.schedule.timezone for each in self._campaigns.values())
        return [name for name, _ in zones.most_common(most)]


class Planner:
    """Keeps the plan until a command changes a schedule, or the zone data change.

    Args:
        reads: reads past runs, and whether a schedule has changed.
        schedules: reads the schedules.
    """

    def __init__(self, reads: CalendarReader, schedules: ScheduleReader) -> None:
        self._reads = reads
        self._schedules = schedules
        self._loading, self._turn = asyncio.Lock(), asyncio.Lock()
        self._version: tuple[object, ...] = ()
        self._plan = Plan((), self._turn)
        self._past: OrderedDict[tuple[object, ...], tuple[float, list[RunsOfPeriod]]] = (
            OrderedDict()
        )

    async def current(self) -> Plan:
        """Return the plan; one query tells whether it is still true."""
        async with self._loading:
            version = (*await self._reads.version(), tzdata_version())
            if version != self._version:
                everything = CampaignFilter()
                armed = await self._schedules.schedules_until(everything, _EVER, MOST)
                drafts = await self._schedules.draft_schedules(everything, _clock.now(), MOST)
                self._plan = Plan([*armed, *drafts], self._turn)
                self._version = version
            return self._plan

    async def past(
        self, bounds: Sequence[datetime], keep: int, campaign_ids: Sequence[int] | None
    ) -> list[RunsOfPeriod]:
        """Return the runs of periods, those of older days as they were up to a minute ago."""
        now = _clock.now()
        older = sum(1 for end in bounds[1:] if end < now - _OVER)
        recent = bounds[older:]
        found: list[RunsOfPeriod] = []
        if older:
            key = (*bounds[: older + 1], keep, campaign_ids and tuple(campaign_ids))
            at, found = self._past.get(key, (-_KEPT_S, []))
            if _clock.monotonic() - at >= _KEPT_S:
                found = [
                    *await self._reads.runs_of_periods(bounds[: older + 1], keep, campaign_ids)
                ]
                _keep(self._past, key, (_clock.monotonic(), found))
        if len(recent) > 1:
            found = [*found, *await self._reads.runs_of_periods(recent, keep, campaign_ids)]
        return found


def planner_of(request: Request) -> Planner:
    """Return the application's planner."""
    planner = request.app.state.planner
    assert isinstance(planner, Planner)
    return planner


def _schedules(campaigns: Iterable[ScheduledCampaign]) -> list[tuple[int, Schedule, datetime]]:
    return [(each.campaign_id, each.schedule, each.next_at) for each in campaigns]


def _keep(cache: OrderedDict[K, V], key: K, value: V) -> None:
    """Add a value to a cache, and drop the oldest one if there are too many."""
    cache[key] = value
    if len(cache) > _KEPT:
        cache.popitem(last=False)
