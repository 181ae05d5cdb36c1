"""Explains in one sentence why a campaign ran at an instant, or did not, from its records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from daemon.domain.brakes import Brake
from daemon.domain.campaign.model import Campaign, LoggedEvent, Run
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.formatting import utc_text
from daemon.domain.schedule.schedule import EventKind, Schedule, TimedEvent


def span_of(written: datetime) -> timedelta:
    """Return the span that a written time means: without seconds the whole minute, and so on."""
    if written.microsecond:
        return timedelta(microseconds=1)
    return timedelta(seconds=1) if written.second else timedelta(minutes=1)


class TargetPause(NamedTuple):
    """A target whose circuit breaker keeps runs from starting, on one node at least."""

    until: datetime | None
    """Instant of the next probe; None while one is under way."""
    error: str | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """The records of a campaign around an instant."""

    campaign: Campaign
    schedule: Schedule | None
    saved_at: datetime | None
    timer: TimedEvent | None
    now: datetime
    live_nodes: int
    at: datetime
    run: Run | None = None
    run_events: tuple[LoggedEvent, ...] = ()
    """The events of the occurrence in question, oldest first."""
    moved: LoggedEvent | None = None
    """The last change of the campaign's status before the instant."""
    schedule_change: LoggedEvent | None = None
    """The first change of the schedule after the instant."""
    freeze: Brake | None = None
    """The freeze that keeps the campaign's runs from beginning."""
    stretch: LoggedEvent | None = None
    """The event of the stretch of occurrences to which this one belongs."""
    target_pause: TargetPause | None = None
    """The pause of the campaign's target, if a node keeps runs from starting."""


def explain_instant(record: Evidence) -> str:
    """Return the explanation."""
    return f"{_explain_occurrence(record)}{_target_pause_text(record)}"


def _target_pause_text(record: Evidence) -> str:
    """Return the pause of the target, if it may be what the occurrence waits for."""
    pause, run = record.target_pause, record.run
    waits = (
        run.status in (RunStatus.QUEUED, RunStatus.RETRYING)
        if run is not None
        else record.timer is not None and record.timer.at <= record.at
    )
    if pause is None or not waits:
        return ""
    until = "" if pause.until is None else f" until {_instant_text(pause.until)}"
    why = "" if pause.error is None else f": {pause.error}"
    return f"; its target {record.campaign.target} is paused{until}{why}"


def _explain_occurrence(record: Evidence) -> str:
    if record.run is not None:
        return _explain_run(record, record.run)
    if record.stretch is not None:
        count = (record.stretch.details or {}).get("count")
        return (
            f"{record.stretch.cause}: one of {count} occurrences that passed in one stretch, "
            f"recorded as one event at {_instant_text(record.stretch.at)}"
        )
    return _explain_future(record) if record.at > record.now else _explain_missing_run(record)


def _explain_run(record: Evidence, run: Run) -> str:
    late = "" if run.lateness_ms is None else f", {run.lateness_ms / 1000:.3f} s late"
    last = record.run_events[-1] if record.run_events else None
    cause = next((event.cause for event in reversed(record.run_events) if event.cause), None)
    began = f"started at {_instant_text(run.started_at)}{late}, attempt {run.attempt} on {run.node}"
    match run.status:
        case RunStatus.COMPLETED:
            return f"it ran: {began}, completed at {_instant_text(run.finished_at)}"
        case RunStatus.FAILED:
            return f"it failed: {run.error} ({began}, ended at {_instant_text(run.finished_at)})"
        case RunStatus.EXECUTING:
            return f"it is in progress: {began}"
        case RunStatus.RETRYING:
            why_again = run.error or cause or "the attempt failed"
            return f"{why_again}; the next attempt is due at {_instant_text(run.next_attempt_at)}"
        case RunStatus.QUEUED:
            return "it waits for the previous run, or for free capacity of its target"
        case RunStatus.HELD:
            return f"it is held and needs the operator: {run.error or cause or 'held'}"
        case RunStatus.MISSED:
            passed = f"{cause or 'missed'}{_paused_since_text(record)}"
            return f"{passed}; decided at {_instant_text(run.claimed_at)}"
        case RunStatus.SKIPPED:
            return f"{cause or 'skipped'}; decided at {_instant_text(run.claimed_at)}"
        case RunStatus.CANCELLED:
            by = f" by {last.actor}" if last is not None else ""
            return f"it was cancelled{by} at {_instant_text(run.finished_at)}"


def _paused_since_text(record: Evidence) -> str:
    moved = record.moved
    if moved is None or moved.to_status != Status.PAUSED:
        return ""
    return f" since {_instant_text(moved.at)} by {moved.actor}{_note_text(moved)}"


def _note_text(event: LoggedEvent) -> str:
    note = (event.details or {}).get("note")
    return f" ({note})" if note else ""


def _explain_future(record: Evidence) -> str:
    if not _is_occurrence(record):
        return _explain_no_occurrence(record)
    if record.timer is None:
        return _explain_unarmed(record.campaign.status)
    if record.campaign.status is Status.PAUSED:
        until = record.campaign.paused_until
        if until is None:
            return "the campaign is paused: it will be missed unless it is started before"
        end = f"the campaign is paused until {_instant_text(until)}"
        if until <= record.at:
            return f"{end}, and will run then"
        return f"{end}: it will be missed unless it is started before"
    if record.freeze is not None:
        return f"it is still ahead; its target is {record.freeze.describe()}"
    return "it is still ahead, and will run"


def _explain_unarmed(status: Status) -> str:
    remedy = {
        Status.DRAFT: "start it, and it will run",
        Status.ARCHIVED: "unarchive it and save its schedule again, and it will run",
    }.get(status, "save its schedule again, and it will run")
    return f"the campaign is {status}: it will not run; {remedy}"


def _explain_missing_run(record: Evidence) -> str:
    moved, change = record.moved, record.schedule_change
    status = moved.to_status if moved is not None else None
    created = record.campaign.created_at
    if created is not None and created > record.at:
        return f"the campaign was only created at {_instant_text(created)}"
    if change is not None:
        return (
            f"the schedule was changed after it, at {_instant_text(change.at)} by {change.actor} "
            f"({change.event}); the schedule of that time is not kept"
        )
    if record.schedule is None:
        return "the campaign has no schedule"
    if record.saved_at is not None and record.saved_at > record.at:
        return f"the schedule was only saved at {_instant_text(record.saved_at)}"
    if not _is_occurrence(record):
        return _explain_no_occurrence(record)
    if status in (Status.SCHEDULED, Status.LAUNCHED, Status.EXECUTING, Status.PAUSED):
        if record.timer is None or record.timer.at > record.at:
            return "its record was pruned: it is older than the retention of finished history"
        if record.freeze is not None:
            return f"it is due and {record.freeze.describe()}"
        if not record.live_nodes:
            return "it is due and not claimed: no node is alive"
        waits = (
            ""
            if record.timer.at == record.at
            else f", after that of {_instant_text(record.timer.at)}"
        )
        return f"it is due and not claimed yet{waits}"
    was = status or record.campaign.status
    since = f" since {_instant_text(moved.at)} by {moved.actor}" if moved is not None else ""
    return f"the campaign was {was}{since}: it had no occurrence due"


def _is_occurrence(record: Evidence) -> bool:
    if record.schedule is None:
        return False
    event = record.schedule.event_after(record.at - timedelta(microseconds=1))
    if event is None or event.at != record.at:
        return False
    return event.kind is EventKind.FIRE or record.schedule.has_fires


def _explain_no_occurrence(record: Evidence) -> str:
    schedule = record.schedule
    if schedule is None:
        return "the campaign has no schedule"
    if not schedule.has_fires:
        return "its schedule opens and closes a window and has no timed runs"
    before = schedule.latest_fire(record.at)
    after = schedule.event_after(record.at)
    near = [
        *([f"the previous one is at {_instant_text(before.at)}"] if before is not None else []),
        *([f"the next one is at {_instant_text(after.at)}"] if after is not None else []),
    ]
    return f"the schedule has no occurrence at that instant; {', '.join(near) or 'it never runs'}"


def _instant_text(instant: datetime | None) -> str:
    return "?" if instant is None else utc_text(instant)
