"""Decides what an import does with a line; the functions are pure.

A line with no status, scheduled or launched is armed from now on, without past occurrences. A run
that was in progress at the export is not sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from daemon.domain.campaign import commands
from daemon.domain.campaign.gated_edits import later_due
from daemon.domain.campaign.model import Change, Snapshot
from daemon.domain.campaign.state_machine import ARMED, Event, Status
from daemon.domain.errors import CampaigndError
from daemon.domain.requests import (
    BodyContext,
    ParsedSchedule,
    PastStarts,
    is_schedule_body,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.requests.send_window import unknown_calendar
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.schedule import CampaignType, Kind, Schedule, ScheduleSource, TimedEvent
from storage.bulk.line_parser import BadLine, Line

S = Status
_ARMING = frozenset({None, S.SCHEDULED, S.LAUNCHED})
UNKNOWN_OUTCOME = "was executing when it was exported: what became of its run is not known"


@dataclass(frozen=True, slots=True)
class ScheduleDefaults:
    """Settings that lines are read with.

    ``targets`` are the configured names, None skips the check. ``calendars`` are those of the
    database.
    """

    continuous_interval: int = 300
    misfire_grace_time: int = 3600
    targets: frozenset[str] | None = None
    calendars: Mapping[str, Calendar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownCampaign:
    """The existing campaign with the uuid of a line."""

    id: int
    uuid: UUID
    name: str
    type: CampaignType
    status: Status
    timezone: str
    target: str
    same_payload: bool
    body: dict[str, Any] | None
    schedule: Schedule | None


@dataclass(frozen=True, slots=True)
class PlannedCampaign:
    """A campaign to insert, with its schedule and its timer."""

    line: Line
    type: CampaignType
    status: Status
    saved: ParsedSchedule | None
    timer: TimedEvent | None
    due_at: datetime | None
    """When the timer's event is due, where that is later than its own time."""
    more_to_come: bool
    has_due: bool
    has_completed: bool
    cause: str | None


def plan_new(line: Line, now: datetime, defaults: ScheduleDefaults) -> PlannedCampaign:
    """Return the campaign to insert for a line with a new uuid. Raises BadLine."""
    saved = read_schedule(
        line, now, defaults, PastStarts.RECURRENCES if _arms_schedule(line) else PastStarts.ANY
    )
    schedule = saved.schedule if saved is not None else None
    status = line.status or (S.DRAFT if schedule is None else S.SCHEDULED)
    timer, more = None, False
    if status in ARMED:
        _check_target(line, defaults)
        timer, more = _next_event_and_more(schedule, now)
    cause = None
    if status in (S.SCHEDULED, S.LAUNCHED):
        if schedule is None:
            raise BadLine(f"campaign.status is {status}, which needs a schedule")
        if not more:
            raise BadLine("nothing is to come: its schedule is over")
        # No schedule begins before its anchor, which is cheap to compare.
        has_started = schedule.anchor_at <= now and schedule.begins_at <= now
        status = S.LAUNCHED if has_started else S.SCHEDULED
    elif status is S.EXECUTING:
        status = S.LAUNCHED if more else S.FAILED
        cause = UNKNOWN_OUTCOME
    due, completed = _run_history(line, schedule)
    return PlannedCampaign(
        line=line,
        type=_type_of(line, saved),
        status=status,
        saved=saved if schedule is not None else None,
        timer=timer,
        due_at=None if schedule is None else later_due(schedule, timer, defaults.calendars),
        more_to_come=more,
        has_due=due,
        has_completed=completed,
        cause=cause,
    )


def changed_fields(
    line: Line, known: KnownCampaign, now: datetime, defaults: ScheduleDefaults
) -> list[str]:
    """Return the names of the fields in which a line differs from the existing campaign."""
    line = fill_in_from_campaign(line, known)
    saved = read_schedule(line, now, defaults, PastStarts.ANY)
    names = []
    if line.name != known.name:
        names.append("name")
    if _type_of(line, saved) is not known.type:
        names.append("type")
    if line.timezone != known.timezone:
        names.append("timezone")
    if line.target != known.target:
        names.append("target")
    if not known.same_payload:
        names.append("payload")
    names.extend(_changed_schedule_fields(line, saved, known))
    return names


def fill_in_from_campaign(line: Line, known: KnownCampaign) -> Line:
    """Return the line with type and anchor of the campaign, where the line has none."""
    anchor = line.anchor
    if anchor is None and known.schedule is not None:
        anchor = known.schedule.anchor_local
    return replace(line, type=line.type or known.type, anchor=anchor)


def plan_update(
    line: Line,
    snapshot: Snapshot,
    known: KnownCampaign,
    names: list[str],
    defaults: ScheduleDefaults,
) -> Change | None:
    """Return the change that gives a campaign a line's schedule; None if the schedule is equal.

    Raises BadLine, or Refused if the campaign's status forbids the change.
    """
    if not {"schedule", "anchor", "defaults", "type", "timezone"}.intersection(names):
        return None
    body = line.schedule
    if "type" in names and not is_schedule_body(body):
        raise BadLine(f"campaign.type is {line.type}, but that of this campaign is {known.type}")
    if body is None and known.schedule is None:
        return None
    context = _context_for(line, snapshot.now, defaults, PastStarts.RECURRENCES)
    if body is None or body.get("schedule_type") == "immediate":
        if line.status not in (None, S.DRAFT):
            raise BadLine(f"has no schedule, which a {line.status} line does not take away")
        return commands.clear(snapshot)
    if not is_schedule_body(body):
        return _require_more_to_come(commands.update(snapshot, body, context))
    if line.status is S.DRAFT and snapshot.campaign.status is S.DRAFT:
        saved = read_schedule_body(body, context._replace(past=PastStarts.ANY))
        return Change(
            Event.SCHEDULE_UPDATED,
            S.DRAFT,
            type=saved.campaign_type,
            schedule=saved,
            keep_timer=False,
        )
    if line.status not in _ARMING | {S.PAUSED}:
        raise BadLine(f"has another schedule, which a {line.status} line does not save")
    change = commands.save(snapshot, body, context)
    assert change.schedule is not None
    timer, more = _next_event_and_more(change.schedule.schedule, snapshot.now)
    return _require_more_to_come(replace(change, timer=timer, more_to_come=more))


def read_schedule(
    line: Line, now: datetime, defaults: ScheduleDefaults, past: PastStarts
) -> ParsedSchedule | None:
    """Return the schedule of a line; None if the line has none. Raises BadLine."""
    if line.schedule is None:
        return None
    context = _context_for(line, now, defaults, past)
    read = read_schedule_body if is_schedule_body(line.schedule) else read_update_body
    try:
        saved = read(line.schedule, context)
    except CampaigndError as error:
        raise BadLine(f"{error.message}: {error.detail}") from error
    # History is not checked by the readers, but whatever is stored has its calendars.
    window = None if saved.schedule is None else saved.schedule.send_window
    fault = None if window is None else unknown_calendar(window.calendars, defaults.calendars)
    if fault is not None:
        raise BadLine(f"schedule.send_window.calendars {fault}")
    return saved


def _context_for(
    line: Line, now: datetime, defaults: ScheduleDefaults, past: PastStarts
) -> BodyContext:
    return BodyContext(
        now=now,
        campaign_type=_type_of(line, None),
        campaign_timezone=line.timezone,
        continuous_interval=line.continuous_interval or defaults.continuous_interval,
        misfire_grace_time=line.misfire_grace_time or defaults.misfire_grace_time,
        anchor=line.anchor,
        past=past,
        calendars=defaults.calendars,
    )


def _type_of(line: Line, saved: ParsedSchedule | None) -> CampaignType:
    if saved is not None:
        return saved.campaign_type
    if line.type is not None:
        return line.type
    if line.schedule is not None and line.schedule.get("repeating_schedule_attributes") is not None:
        return CampaignType.RECURRING
    return CampaignType.ONE_TIME


def _arms_schedule(line: Line) -> bool:
    return line.status in _ARMING


def _check_target(line: Line, defaults: ScheduleDefaults) -> None:
    if defaults.targets is not None and line.target not in defaults.targets:
        names = ", ".join(sorted(defaults.targets))
        raise BadLine(f"campaign.target is {line.target!r}, configured are {names}")


def _next_event_and_more(
    schedule: Schedule | None, now: datetime
) -> tuple[TimedEvent | None, bool]:
    """Return the next event after now, and whether an event is to come or the window is open."""
    if schedule is None:
        return None, False
    timer = schedule.event_after(now)
    open_window = schedule.kind is Kind.WINDOW and (
        schedule.ends_at is None or schedule.ends_at > now
    )
    return timer, timer is not None or open_window


def _require_more_to_come(change: Change) -> Change:
    if change.to_status in ARMED and not change.more_to_come:
        raise BadLine("nothing is to come: its schedule is over")
    return change


def _run_history(line: Line, schedule: Schedule | None) -> tuple[bool, bool]:
    """Return whether a run was ever due, and whether one completed, as the status requires."""
    ended = line.archived_from or line.status
    due, completed = line.has_due, line.has_completed
    if completed is None:
        has_fires = (
            schedule.has_fires if schedule is not None else not _type_of(line, None).is_window
        )
        completed = ended is S.COMPLETED and due is not False and has_fires
    if due is None:
        due = completed or ended in (S.FAILED, S.EXECUTING)
    if completed and not due:
        raise BadLine("campaign.history has completed without due")
    if ended is S.COMPLETED and due and not completed:
        raise BadLine("campaign.history has no completed run, but the campaign is completed")
    if ended is S.FAILED and not due:
        raise BadLine("campaign.history has nothing due, but the campaign is failed")
    return due or ended is S.EXECUTING, completed


def _changed_schedule_fields(
    line: Line, saved: ParsedSchedule | None, known: KnownCampaign
) -> list[str]:
    schedule = saved.schedule if saved is not None else None
    if saved is None or schedule is None or known.schedule is None:
        return [] if schedule is None and known.schedule is None else ["schedule"]
    if saved.body != known.body or schedule.source is not known.schedule.source:
        return ["schedule"]
    names = []
    anchored = schedule.source is ScheduleSource.SCHEDULE and "scheduled_at" not in saved.body
    if anchored and schedule.anchor_local != known.schedule.anchor_local:
        names.append("anchor")
    every, grace = line.continuous_interval, line.misfire_grace_time
    if (every is not None and schedule.every_seconds != known.schedule.every_seconds) or (
        grace is not None and schedule.misfire_grace_time != known.schedule.misfire_grace_time
    ):
        names.append("defaults")
    return names
