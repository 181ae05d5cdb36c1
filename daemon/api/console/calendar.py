"""The calendar: past runs by outcome, and coming ones, by month, week and day, or as a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import groupby, pairwise

from fastapi import APIRouter, Request
from starlette.responses import Response

from daemon.api.console.planner import CalendarFilter, Plan, planner_of
from daemon.api.console.rendering import local, moment_text, render_page
from daemon.api.console.viewer import Reader
from daemon.api.requests import backend_of
from daemon.domain.campaign.state_machine import Status
from daemon.domain.occurrences import ScheduledCampaign
from daemon.domain.read_models import RunsOfPeriod
from daemon.domain.schedule.clock_changes import clock_changes
from daemon.domain.schedule.expansion import Period
from daemon.domain.schedule.timezones import is_zone, resolve, zone

router = APIRouter(include_in_schema=False)

AGENDA_DAYS = 14
ZONES = 12
"""Maximum zones of campaigns that the zone picker offers."""
_MINUTE = timedelta(minutes=1)
_FIRST, _LAST = date(1970, 1, 1), date(9000, 1, 1)
"""The days that a calendar can show."""


class View(StrEnum):
    """The forms of the calendar."""

    MONTH = "month"
    WEEK = "week"
    DAY = "day"
    AGENDA = "agenda"


_ENTRIES = {View.MONTH: 3, View.WEEK: 12, View.DAY: 300, View.AGENDA: 20}
"""Entries that a day lists in each view; a link opens the day for the others."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line in a day: a past run, or a coming occurrence."""

    at: datetime
    name: str
    path: str
    status: str
    """The outcome of a run, or the status of a campaign."""
    is_ahead: bool
    times: int = 1
    elsewhere: str = ""
    """The campaign's own wall-clock time, where its zone is another than that of the calendar."""


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the calendar."""

    on: date
    count: int
    entries: tuple[Entry, ...]
    outcomes: dict[str, int]
    clock_changes: tuple[str, ...]
    is_today: bool
    is_outside: bool
    """Whether the day belongs to the month before or after."""

    @property
    def further(self) -> int:
        """The number of runs that are not listed."""
        return self.count - sum(entry.times for entry in self.entries)


@router.get("/calendar")
async def show_calendar(request: Request, viewer: Reader) -> Response:
    """Show the calendar of one month, week, day or fortnight, in one zone."""
    asked = request.query_params
    view = View(asked["view"]) if asked.get("view") in set(View) else View.MONTH
    zone_name = asked.get("zone", "")
    zone_name = zone_name if is_zone(zone_name) else viewer.zone
    today = local(viewer.now, zone_name).date()
    chosen = _date_or(asked.get("day", ""), today)
    shown = CalendarFilter(asked.get("q", "").strip(), "drafts" in asked)
    first, count = _range_of(view, chosen, viewer.preferences.week_start)
    days = [first + timedelta(days=number) for number in range(count)]
    plan = await planner_of(request).current()
    builder = _Builder(request, plan, zone_name, viewer.now, shown, _ENTRIES[view])
    found = await builder.days(days, chosen.month if view is View.MONTH else None)
    return render_page(
        request,
        viewer,
        "calendar.html",
        view=view,
        views=list(View),
        zone=zone_name,
        zones=list(dict.fromkeys([viewer.zone, "UTC", *plan.zones(ZONES)])),
        chosen=chosen,
        today=today,
        before=_shifted(view, chosen, -1),
        after=_shifted(view, chosen, 1),
        shown=shown,
        days=found,
        weeks=[found[start : start + 7] for start in range(0, len(found), 7)],
        hours=_by_hour(found[0], zone_name) if view is View.DAY else [],
        busiest=max(1, *(day.count for day in found)),
        total=sum(day.count for day in found),
    )


def _date_or(text: str, default: date) -> date:
    try:
        return min(max(date.fromisoformat(text), _FIRST), _LAST)
    except ValueError:
        return default


def _range_of(view: View, chosen: date, week_start: int) -> tuple[date, int]:
    """Return the first day of the view, and the number of its days."""
    match view:
        case View.DAY:
            return chosen, 1
        case View.AGENDA:
            return chosen, AGENDA_DAYS
        case View.WEEK:
            return _week_begin(chosen, week_start), 7
        case View.MONTH:
            first = _week_begin(chosen.replace(day=1), week_start)
            last = _month_after(chosen) - timedelta(days=1)
            return first, ((last - first).days // 7 + 1) * 7


def _week_begin(day: date, week_start: int) -> date:
    return day - timedelta(days=(day.isoweekday() - week_start) % 7)


def _month_after(day: date) -> date:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def _shifted(view: View, chosen: date, by: int) -> date:
    """Return the day to which the links to the view before and after lead."""
    if view is View.MONTH:
        last_before = chosen.replace(day=1) - timedelta(days=1)
        return _month_after(chosen) if by > 0 else last_before.replace(day=1)
    step = {View.WEEK: 7, View.AGENDA: AGENDA_DAYS}.get(view, 1)
    return chosen + timedelta(days=by * step)


def _by_hour(day: Day, zone_name: str) -> list[tuple[str, list[Entry]]]:
    ordered = sorted(day.entries, key=lambda entry: entry.at)
    hours = groupby(ordered, key=lambda entry: f"{local(entry.at, zone_name):%H:00}")
    return [(hour, list(entries)) for hour, entries in hours]


class _Builder:
    """Reads runs and occurrences, and builds the days."""

    def __init__(
        self,
        request: Request,
        plan: Plan,
        zone_name: str,
        now: datetime,
        shown: CalendarFilter,
        keep: int,
    ) -> None:
        self._planner, self._plan = planner_of(request), plan
        self._reads = backend_of(request).calendar
        self._zone, self._now, self._shown, self._keep = zone_name, now, shown, keep

    async def days(self, days: Sequence[date], month: int | None) -> list[Day]:
        """Return the days; those outside the month, if one is given, are marked."""
        bounds = [_midnight(day, self._zone) for day in (*days, days[-1] + timedelta(days=1))]
        campaigns = self._plan.campaigns(self._shown)
        past = await self._past(bounds, campaigns)
        ahead = await self._ahead(bounds)
        ids = {each.campaign_id for period in ahead if period for each in period.first}
        names = await self._reads.names(sorted(ids))
        changes = self._clock_changes(bounds)
        today = local(self._now, self._zone).date()
        return [
            Day(
                day,
                sum(runs.counts.values() if runs else ()) + (coming.count if coming else 0),
                (*_past_entries(runs), *self._coming_entries(coming, campaigns, names))[
                    : self._keep
                ],
                runs.counts if runs else {},
                changes.get(day, ()),
                day == today,
                month is not None and day.month != month,
            )
            for day, runs, coming in zip(days, past, ahead, strict=True)
        ]

    async def _past(
        self, bounds: Sequence[datetime], campaigns: Mapping[int, ScheduledCampaign]
    ) -> list[RunsOfPeriod | None]:
        """Return the runs of the days that have begun."""
        begun = [start for start in bounds[:-1] if start <= self._now]
        if not begun:
            return [None] * (len(bounds) - 1)
        ids = sorted(campaigns) if self._shown.text else None
        found = await self._planner.past(bounds[: len(begun) + 1], self._keep, ids)
        return [*found, *[None] * (len(bounds) - 1 - len(begun))]

    async def _ahead(self, bounds: Sequence[datetime]) -> list[Period | None]:
        """Return the occurrences of the days that have not ended; of today from this minute on."""
        ended = sum(1 for _, end in pairwise(bounds) if end <= self._now)
        left = bounds[ended:]
        found: list[Period | None] = [None] * ended
        if len(left) > 1 and left[0] <= self._now:
            minute = self._now.replace(second=0, microsecond=0)
            found += await self._plan.expand(
                [minute + _MINUTE, max(left[1], minute + _MINUTE)], self._keep, self._shown
            )
            left = left[1:]
        if len(left) > 1:
            found += await self._plan.expand(left, self._keep, self._shown)
        return found

    def _coming_entries(
        self,
        period: Period | None,
        campaigns: Mapping[int, ScheduledCampaign],
        names: dict[int, tuple[str, Status]],
    ) -> list[Entry]:
        if period is None:
            return []
        entries = []
        for each in period.first:
            if each.campaign_id not in names:
                continue  # deleted meanwhile
            name, status = names[each.campaign_id]
            own = campaigns[each.campaign_id].schedule.timezone
            elsewhere = "" if own == self._zone else f"{moment_text(each.at, own)} {own}"
            path = f"/campaigns/{each.campaign_id}"
            entries.append(Entry(each.at, name, path, status, True, each.times, elsewhere))
        return entries

    def _clock_changes(self, bounds: Sequence[datetime]) -> dict[date, tuple[str, ...]]:
        found: dict[date, tuple[str, ...]] = {}
        for change in clock_changes(self._zone, bounds[0], bounds[-1]):
            way = "forward" if change.is_gap else "back"
            text = f"Clocks go {way}: {change.start:%H:%M} to {change.end:%H:%M} "
            text += "does not exist" if change.is_gap else "comes twice"
            found[change.start.date()] = (*found.get(change.start.date(), ()), text)
        return found


def _midnight(day: date, zone_name: str) -> datetime:
    return resolve(datetime.combine(day, time()), zone(zone_name)).astimezone(UTC)


def _past_entries(runs: RunsOfPeriod | None) -> list[Entry]:
    if runs is None:
        return []
    return [
        Entry(
            each.run.scheduled_for,
            each.campaign_name,
            f"/runs/{each.run.id}",
            each.run.status,
            False,
        )
        for each in runs.first
    ]
