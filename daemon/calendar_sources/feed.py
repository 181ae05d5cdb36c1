"""A calendar of runs to come, as iCalendar text (RFC 5545, RFC 7986) for calendar programs.

Each occurrence is an event of its own, so that a program shows what will happen, and need not
understand the schedule. Its UID is the run's id: a moved occurrence is a new event, and the program
drops the former one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice

import icalendar

from daemon import __version__
from daemon.domain.campaign.model import run_id
from daemon.domain.campaign.state_machine import Status
from daemon.domain.occurrences import ScheduledCampaign, coming_events
from daemon.domain.schedule.timezones import local_time

MAX_EVENTS = 5000
"""Maximum events of one calendar; the soonest are listed."""
REFRESH = timedelta(minutes=15)
"""How often calendar programs are asked to read the calendar again."""
_LENGTH = timedelta(minutes=15)
"""How long a run is shown; a run is an instant."""


def write_feed(
    name: str, campaigns: Iterable[ScheduledCampaign], since: datetime, before: datetime
) -> bytes:
    """Return the calendar of all occurrences from ``since`` until ``before``.

    A window is one event, from its opening to its closing.

    Args:
        name: what calendar programs call the calendar.
        campaigns: armed campaigns with their schedules.
        since: the first instant, aware.
        before: the end, aware.
    """
    every = list(campaigns)
    windows = [each for each in every if each.type.is_window]
    runs = coming_events([each for each in every if not each.type.is_window], since, before)
    events = [
        *((each.schedule.anchor_at, each) for each in windows if each.schedule.anchor_at < before),
        *((run.at, run.campaign) for run in islice(runs, MAX_EVENTS + 1)),
    ]
    events.sort(key=lambda event: (event[0], event[1].campaign_id))
    calendar = _calendar(name, truncated=len(events) > MAX_EVENTS)
    for at, campaign in events[:MAX_EVENTS]:
        calendar.add_component(_event(at, campaign))
    text: bytes = calendar.to_ical()
    return text


def _calendar(name: str, *, truncated: bool) -> icalendar.Calendar:
    calendar = icalendar.Calendar()
    calendar.add("prodid", f"-//campaignd//campaignd {__version__}//EN")
    calendar.add("version", "2.0")
    calendar.add("name", icalendar.vText(name))
    calendar.add("x-wr-calname", icalendar.vText(name))
    calendar.add("color", "steelblue")
    calendar.add("refresh-interval", icalendar.vDuration(REFRESH), {"VALUE": "DURATION"})
    calendar.add("x-published-ttl", icalendar.vDuration(REFRESH))
    if truncated:
        calendar.add("x-wr-caldesc", f"the first {MAX_EVENTS}")
    return calendar


def _event(at: datetime, campaign: ScheduledCampaign) -> icalendar.Event:
    schedule = campaign.schedule
    paused = campaign.status is Status.PAUSED
    event = icalendar.Event()
    event.add("uid", f"{run_id(campaign.campaign_uuid, at)}@campaignd")
    event.add("dtstamp", campaign.saved_at or at)
    event.add("sequence", campaign.revision)
    event.add("summary", campaign.campaign_name + (" [paused]" if paused else ""))
    event.add("dtstart", at)
    if campaign.type.is_window and schedule.ends_at is not None:
        event.add("dtend", schedule.ends_at)
    else:
        event.add("duration", _LENGTH)
    event.add("description", _description(at, campaign))
    event.add("transp", "TRANSPARENT")
    event.add("status", "TENTATIVE" if paused else "CONFIRMED")
    return event


def _description(at: datetime, campaign: ScheduledCampaign) -> str:
    timezone = campaign.schedule.timezone
    local = local_time(at, timezone)
    lines = [] if local is None else [f"{local:%Y-%m-%d %H:%M} {timezone}"]
    if campaign.type.is_window and campaign.schedule.ends_at is None:
        lines.append("The window opens, and stays open.")
    if campaign.status is Status.PAUSED:
        lines.append("The campaign is paused: a run that falls due is missed.")
    return "\n".join([*lines, f"target {campaign.target}"])
