"""What an import does with a line: pure decisions on values.

A line to be armed (no status, scheduled, launched) is armed from now on: nothing that is over is
made up. What was under way when it was exported is not sent again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from daemon.domain.campaign import commands
from daemon.domain.campaign.model import Change, Snapshot
from daemon.domain.campaign.state_machine import ARMED, Event, Status
from daemon.domain.errors import CampaigndError
from daemon.domain.requests import (
    Context,
    Past,
    Saved,
    is_schedule_body,
    save_schedule,
    update_schedule,
)
from daemon.domain.schedule.schedule import CampaignType, Kind, Schedule, ScheduleSource, TimedEvent
from storage.bulk.line_parser import BadLine, Line

S = Status
_TO_ARM = frozenset({None, S.SCHEDULED, S.LAUNCHED})
UNKNOWN_OUTCOME = "was executing when it was exported: what became of its run is not known"


@dataclass(frozen=True, slots=True)
class ScheduleDefaults:
    """What lines are read with. ``targets``: the names there are; None checks nothing."""

    continuous_interval: int = 300
    misfire_grace_time: int = 3600
    targets: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class KnownCampaigns:
    """A campaign that has the uuid of a line."""

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
    saved: Saved | None
    timer: TimedEvent | None
    more_to_come: bool
    has_due: bool
    has_completed: bool
    cause: str | None


def plan_new(line: Line, now: datetime, settings: ScheduleDefaults) -> PlannedCampaign:
    """What to insert for a line whose uuid is not known. Raises BadLine."""
    saved = read_schedule(line, now, settings, Past.RECURRENCES if _arms(line) else Past.ANY)
    schedule = saved.schedule if saved is not None else None
    status = line.status or (S.DRAFT if schedule is None else S.SCHEDULED)
    timer, more = None, False
    if status in ARMED:
        _check_target(line, settings)
        timer, more = _to_come(schedule, now)
    cause = None
    if status in (S.SCHEDULED, S.LAUNCHED):
        if schedule is None:
            raise BadLine(f"campaign.status is {status}, which needs a schedule")
        if not more:
            raise BadLine("nothing is to come: its schedule is over")
        # Nothing begins before its anchor, and that is at hand.
        has_started = schedule.anchor_at <= now and schedule.begins_at <= now
        status = S.LAUNCHED if has_started else S.SCHEDULED
    elif status is S.EXECUTING:
        status = S.LAUNCHED if more else S.FAILED
        cause = UNKNOWN_OUTCOME
    due, completed = _history(line, schedule)
    return PlannedCampaign(
        line=line,
        type=_type(line, saved),
        status=status,
        saved=saved if schedule is not None else None,
        timer=timer,
        more_to_come=more,
        has_due=due,
        has_completed=completed,
        cause=cause,
    )


def differences(
    line: Line, known: KnownCampaigns, now: datetime, settings: ScheduleDefaults
) -> list[str]:
    """The names of what a line says otherwise than the campaign that has its uuid."""
    line = filled_in(line, known)
    saved = read_schedule(line, now, settings, Past.ANY)
    found = []
    if line.name != known.name:
        found.append("name")
    if _type(line, saved) is not known.type:
        found.append("type")
    if line.timezone != known.timezone:
        found.append("timezone")
    if line.target != known.target:
        found.append("target")
    if not known.same_payload:
        found.append("payload")
    found.extend(_schedule_differences(line, saved, known))
    return found


def filled_in(line: Line, known: KnownCampaigns) -> Line:
    """The line with what it leaves open as the campaign has it: type and anchor."""
    anchor = line.anchor
    if anchor is None and known.schedule is not None:
        anchor = known.schedule.anchor_local
    return replace(line, type=line.type or known.type, anchor=anchor)


def plan_update(
    line: Line,
    snapshot: Snapshot,
    known: KnownCampaigns,
    found: list[str],
    settings: ScheduleDefaults,
) -> Change | None:
    """The change that gives a campaign the schedule of a line; None if it has that already.

    Raises BadLine, or Refused where the campaign's status forbids it.
    """
    if not {"schedule", "anchor", "defaults", "type", "timezone"}.intersection(found):
        return None
    body = line.schedule
    if "type" in found and not is_schedule_body(body):
        raise BadLine(f"campaign.type is {line.type}, but that of this campaign is {known.type}")
    if body is None and known.schedule is None:
        return None
    context = _context(line, snapshot.now, settings, Past.RECURRENCES)
    if body is None or body.get("schedule_type") == "immediate":
        if line.status not in (None, S.DRAFT):
            raise BadLine(f"has no schedule, which a {line.status} line does not take away")
        return commands.clear(snapshot)
    if not is_schedule_body(body):
        return _still_to_come(commands.update(snapshot, body, context))
    if line.status is S.DRAFT and snapshot.campaign.status is S.DRAFT:
        saved = save_schedule(body, context._replace(past=Past.ANY))
        return Change(
            Event.SCHEDULE_UPDATED,
            S.DRAFT,
            type=saved.campaign_type,
            schedule=saved,
            keep_timer=False,
        )
    if line.status not in _TO_ARM | {S.PAUSED}:
        raise BadLine(f"has another schedule, which a {line.status} line does not save")
    change = commands.save(snapshot, body, context)
    assert change.schedule is not None
    timer, more = _to_come(change.schedule.schedule, snapshot.now)
    return _still_to_come(replace(change, timer=timer, more_to_come=more))


def read_schedule(
    line: Line, now: datetime, settings: ScheduleDefaults, past: Past
) -> Saved | None:
    """The schedule of a line, on its own; None if it has none. Raises BadLine."""
    if line.schedule is None:
        return None
    context = _context(line, now, settings, past)
    try:
        if is_schedule_body(line.schedule):
            return save_schedule(line.schedule, context)
        return update_schedule(line.schedule, context)
    except CampaigndError as error:
        raise BadLine(f"{error.message}: {error.detail}") from error


def _context(line: Line, now: datetime, settings: ScheduleDefaults, past: Past) -> Context:
    return Context(
        now=now,
        campaign_type=_type(line, None),
        campaign_timezone=line.timezone,
        continuous_interval=line.continuous_interval or settings.continuous_interval,
        misfire_grace_time=line.misfire_grace_time or settings.misfire_grace_time,
        anchor=line.anchor,
        past=past,
    )


def _type(line: Line, saved: Saved | None) -> CampaignType:
    if saved is not None:
        return saved.campaign_type
    if line.type is not None:
        return line.type
    if line.schedule is not None and line.schedule.get("repeating_schedule_attributes") is not None:
        return CampaignType.RECURRING
    return CampaignType.ONE_TIME


def _arms(line: Line) -> bool:
    return line.status in _TO_ARM


def _check_target(line: Line, settings: ScheduleDefaults) -> None:
    if settings.targets is not None and line.target not in settings.targets:
        names = ", ".join(sorted(settings.targets))
        raise BadLine(f"campaign.target is {line.target!r}, configured are {names}")


def _to_come(schedule: Schedule | None, now: datetime) -> tuple[TimedEvent | None, bool]:
    """The next event after now, and whether anything is to come or the window is open."""
    if schedule is None:
        return None, False
    timer = schedule.event_after(now)
    open_window = schedule.kind is Kind.WINDOW and (
        schedule.ends_at is None or schedule.ends_at > now
    )
    return timer, timer is not None or open_window


def _still_to_come(change: Change) -> Change:
    if change.to_status in ARMED and not change.more_to_come:
        raise BadLine("nothing is to come: its schedule is over")
    return change


def _history(line: Line, schedule: Schedule | None) -> tuple[bool, bool]:
    """Whether a run was ever due, and whether one completed; consistent with the status."""
    ended = line.archived_from or line.status
    due, completed = line.has_due, line.has_completed
    if completed is None:
        has_fires = schedule.has_fires if schedule is not None else not _type(line, None).is_window
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


def _schedule_differences(line: Line, saved: Saved | None, known: KnownCampaigns) -> list[str]:
    schedule = saved.schedule if saved is not None else None
    if saved is None or schedule is None or known.schedule is None:
        return [] if schedule is None and known.schedule is None else ["schedule"]
    if saved.body != known.body or schedule.source is not known.schedule.source:
        return ["schedule"]
    found = []
    anchored = schedule.source is ScheduleSource.SCHEDULE and "scheduled_at" not in saved.body
    if anchored and schedule.anchor_local != known.schedule.anchor_local:
        found.append("anchor")
    every, grace = line.continuous_interval, line.misfire_grace_time
    if (every is not None and schedule.every_seconds != known.schedule.every_seconds) or (
        grace is not None and schedule.misfire_grace_time != known.schedule.misfire_grace_time
    ):
        found.append("defaults")
    return found
