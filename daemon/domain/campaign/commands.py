"""The commands of a campaign: each maps a snapshot and a request to a Change.

The functions are pure: `now` is part of the snapshot. Each applies the transition table
(`state_machine.TABLE`) and raises `Refused` where the table has no row, so a refused command
changes nothing (docs/semantics.md#lifecycle).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID

from daemon.domain.campaign.command_request import end_of_pause
from daemon.domain.campaign.gated_edits import waiting_event
from daemon.domain.campaign.model import Campaign, Change, NewRun, RetryRequest, Snapshot
from daemon.domain.campaign.schedule_fields import timezone_in_force
from daemon.domain.campaign.state_machine import (
    ARMED,
    Event,
    Facts,
    Status,
    statuses_that_allow,
    transition,
)
from daemon.domain.errors import INVALID_CONFIGURATION, InvalidInput, Refused
from daemon.domain.requests import (
    BodyContext,
    CurrentSchedule,
    ParsedSchedule,
    read_schedule_body,
    read_update_body,
)
from daemon.domain.schedule.daylight_saving import is_first_pass
from daemon.domain.schedule.misfire import Late, decide
from daemon.domain.schedule.recurrence import last_match
from daemon.domain.schedule.schedule import EventKind, Kind, Overlap, Schedule, TimedEvent
from daemon.domain.schedule.timezones import resolve, wall_clock, zone

LIFECYCLE_REFUSAL = 400
PAUSABLE = frozenset({Status.SCHEDULED, Status.LAUNCHED, Status.EXECUTING})
"""The statuses in which a node pauses a campaign whose runs fail."""
UPDATE_REFUSAL = 422


def is_more_to_come(schedule: Schedule, timer: TimedEvent | None, snapshot: Snapshot) -> bool:
    """Return whether an event is ahead or the window is open."""
    if timer is not None:
        return True
    return schedule.kind is Kind.WINDOW and (
        schedule.ends_at is None or schedule.ends_at > snapshot.now
    )


def save(snapshot: Snapshot, body: object, context: BodyContext) -> Change:
    """Replace the schedule by that of a `schedule` body and arm it, or clear it."""
    saved = read_schedule_body(body, context)
    schedule = saved.schedule
    if schedule is None:
        return clear(snapshot)
    # A start that is over is that of the current schedule, whose occurrences go on.
    goes_on = schedule.anchor_at <= snapshot.now
    timer = _event_to_arm(snapshot, saved) if goes_on else schedule.first_event()
    if timer is None:
        raise InvalidInput(400, INVALID_CONFIGURATION, "the recurrence has no occurrence left")
    to_status = _require_transition(
        snapshot, Event.SCHEDULE_SAVED, Facts(open_runs=_open_run_count(snapshot))
    )
    return replace(
        _change_with_new_timer(snapshot, Event.SCHEDULE_SAVED, to_status),
        type=saved.campaign_type,
        schedule=saved,
        timer=timer,
        more_to_come=True,
        forget_history=True,
    )


def clear(snapshot: Snapshot) -> Change:
    """Clear the schedule: after an `immediate` body or a deletion, the campaign is a draft."""
    to_status = _require_transition(
        snapshot, Event.SCHEDULE_CLEARED, Facts(open_runs=_open_run_count(snapshot))
    )
    if snapshot.campaign.status is Status.DRAFT and snapshot.current is None:
        return Change(Event.SCHEDULE_CLEARED, to_status, nothing=True)
    return replace(
        _change_with_new_timer(snapshot, Event.SCHEDULE_CLEARED, to_status),
        clear_schedule=True,
        forget_history=True,
    )


def update(snapshot: Snapshot, body: object, context: BodyContext) -> Change:
    """Merge an `read_update_body` body into the schedule; the status stays."""
    saved = read_update_body(body, context)
    campaign = snapshot.campaign
    facts = Facts(type=campaign.type, open_runs=campaign.open_runs)
    to_status = _require_transition(snapshot, Event.SCHEDULE_UPDATED, facts, UPDATE_REFUSAL)
    if to_status not in ARMED:
        return Change(Event.SCHEDULE_UPDATED, to_status, schedule=saved, keep_timer=False)
    schedule = saved.schedule
    assert schedule is not None
    waits = waiting_event(snapshot, schedule)
    if waits is not None:
        change = Change(Event.SCHEDULE_UPDATED, to_status, keep_timer=False)
        timer: TimedEvent | None = waits
    elif _is_still_due(snapshot, schedule):
        # The occurrence was due at this very instant before the edit too, and is not claimed yet.
        change = Change(Event.SCHEDULE_UPDATED, to_status, keep_timer=False)
        timer = schedule.first_event()
    else:
        change = _change_with_new_timer(snapshot, Event.SCHEDULE_UPDATED, to_status)
        # A window whose new end is in the past closes now.
        timer = _event_to_arm(snapshot, saved) or schedule.closing()
    return replace(
        change,
        schedule=saved,
        timer=timer,
        more_to_come=is_more_to_come(schedule, timer, snapshot),
    )


def start(snapshot: Snapshot, default_grace: int) -> Change:
    """Arm a draft, run a draft without a schedule now, or resume a paused campaign."""
    campaign, current = snapshot.campaign, snapshot.current
    schedule = current.schedule if current is not None else None
    if campaign.status in ARMED and campaign.status is not Status.PAUSED:
        _require_transition(snapshot, Event.START, Facts())
        return Change(Event.START, campaign.status, nothing=True)
    timer = waits = None
    if schedule is not None:
        waits = waiting_event(snapshot, schedule)
        timer = waits or _event_to_arm(snapshot, current)
    more = schedule is not None and is_more_to_come(schedule, timer, snapshot)
    facts = Facts(
        type=campaign.type,
        has_schedule=schedule is not None,
        more_to_come=more,
        begun=schedule is not None and schedule.begins_at <= snapshot.now,
        open_runs=campaign.open_runs,
    )
    to_status = transition(campaign.status, Event.START, facts)
    if to_status is None and campaign.status in (Status.DRAFT, Status.PAUSED):
        raise Refused(_nothing_to_start_text(snapshot), status=LIFECYCLE_REFUSAL)
    if to_status is None:
        raise _refusal(snapshot, Event.START, LIFECYCLE_REFUSAL)
    if schedule is None and campaign.status is Status.DRAFT:
        return Change(
            Event.START,
            to_status,
            run=NewRun(snapshot.now, "start", default_grace),
            forget_history=True,
        )
    if waits is not None:
        change = Change(Event.START, to_status, keep_timer=False)
    else:
        change = _change_with_new_timer(snapshot, Event.START, to_status)
    return replace(change, timer=timer, more_to_come=more)


def pause(snapshot: Snapshot, until: datetime | None = None) -> Change:
    """Start no new attempt or run. The timer stays, so occurrences that pass are missed.

    Args:
        snapshot: the campaign; one that is paused gets another end of its pause.
        until: the end of the pause, as written: aware, or naive in the zone in force.

    Raises:
        InvalidInput, Refused: the campaign cannot be paused, or not until then.
    """
    return Change(
        Event.PAUSE,
        _require_transition(snapshot, Event.PAUSE, Facts()),
        more_to_come=snapshot.campaign.more_to_come,
        paused_until=until and end_of_pause(until, timezone_in_force(snapshot), snapshot.now),
    )


def resume(snapshot: Snapshot, default_grace: int) -> Change | None:
    """Start a campaign whose pause is over; None when it is not, or not any more.

    Raises:
        Refused: nothing is to come, or the campaign is not paused any more.
    """
    campaign = snapshot.campaign
    if campaign.paused_until is None or campaign.paused_until > snapshot.now:
        return None
    if campaign.status is not Status.PAUSED:
        raise Refused(f"the campaign is {campaign.status}", status=LIFECYCLE_REFUSAL)
    return replace(start(snapshot, default_grace), cause="until")


def stop(snapshot: Snapshot) -> Change:
    """Cancel the campaign and every open run."""
    to_status = _require_transition(snapshot, Event.STOP, Facts())
    return replace(_change_with_new_timer(snapshot, Event.STOP, to_status), cancel_open_runs=True)


def rerun(snapshot: Snapshot, default_grace: int) -> Change:
    """Run the campaign once now; afterwards its status is *final* again."""
    to_status = _require_transition(snapshot, Event.RERUN, Facts())
    run = NewRun(snapshot.now, "rerun", _grace_of(snapshot, default_grace))
    return Change(Event.RERUN, to_status, run=run)


def run_now(snapshot: Snapshot, default_grace: int) -> Change:
    """Run a live campaign once now, beside its schedule, which goes on as it is.

    An open run has the effect that the schedule's `overlap` gives it: the run waits, is made
    beside it, or is refused.
    """
    to_status = _require_transition(snapshot, Event.RUN_NOW, Facts())
    campaign, current = snapshot.campaign, snapshot.current
    overlap = current.schedule.overlap if current is not None else Overlap.SKIP
    is_busy = campaign.open_runs > campaign.held_runs
    waits = is_busy and overlap is Overlap.QUEUE
    if is_busy and overlap is Overlap.SKIP:
        raise Refused(
            "a run is open, and overlap is skip: try again when it has ended",
            status=LIFECYCLE_REFUSAL,
        )
    if waits and campaign.queued_runs:
        raise Refused("a run is open, and another one waits for it", status=LIFECYCLE_REFUSAL)
    at = snapshot.now
    if snapshot.timer is not None and snapshot.timer.at == at:
        at += timedelta(microseconds=1)  # this instant belongs to the schedule's occurrence
    return Change(
        Event.RUN_NOW,
        to_status,
        more_to_come=campaign.more_to_come,
        run=NewRun(at, "rerun", _grace_of(snapshot, default_grace), waits),
    )


def retry(snapshot: Snapshot, run_id: UUID, default_grace: int) -> Change:
    """Retry a failed run of the campaign, with a new grace from now."""
    return Change(
        Event.RETRY,
        _require_transition(snapshot, Event.RETRY, Facts()),
        more_to_come=snapshot.campaign.more_to_come,
        retry=RetryRequest(run_id, _grace_of(snapshot, default_grace)),
    )


def archive(snapshot: Snapshot) -> Change:
    """Archive the campaign, and keep its status for `unarchive`."""
    to_status = _require_transition(snapshot, Event.ARCHIVE, Facts())
    return Change(Event.ARCHIVE, to_status, archived_from=snapshot.campaign.status)


def unarchive(snapshot: Snapshot) -> Change:
    """Restore the status from which the campaign was archived."""
    facts = Facts(archived_from=snapshot.campaign.archived_from)
    return Change(Event.UNARCHIVE, _require_transition(snapshot, Event.UNARCHIVE, facts))


def delete(snapshot: Snapshot) -> Change:
    """Delete the campaign and its history."""
    return Change(Event.DELETE, _require_transition(snapshot, Event.DELETE, Facts()), delete=True)


def _grace_of(snapshot: Snapshot, default: int) -> int:
    return snapshot.current.schedule.misfire_grace_time if snapshot.current else default


def _open_run_count(snapshot: Snapshot) -> int:
    return snapshot.campaign.open_runs


def _require_transition(
    snapshot: Snapshot,
    event: Event,
    facts: Facts,
    refusal: int = LIFECYCLE_REFUSAL,
) -> Status:
    to_status = transition(snapshot.campaign.status, event, facts)
    if to_status is None:
        raise _refusal(snapshot, event, refusal)
    return to_status


_WORDS = {
    Event.SCHEDULE_SAVED: "save a schedule for",
    Event.SCHEDULE_CLEARED: "clear the schedule of",
    Event.SCHEDULE_UPDATED: "update the schedule of",
    Event.RETRY: "retry a run of",
    Event.RUN_NOW: "make a run of",
}
_INSTEAD = {
    Status.DRAFT: "; start it first",
    Status.PAUSED: "; start it first",
    **dict.fromkeys((Status.COMPLETED, Status.FAILED, Status.CANCELLED), "; rerun it instead"),
}
"""What runs a campaign now whose status does not allow `run_now`."""


def _refusal(snapshot: Snapshot, event: Event, status: int) -> Refused:
    campaign = snapshot.campaign
    words = _WORDS.get(event, str(event))
    article = "an" if campaign.status in (Status.ARCHIVED, Status.EXECUTING) else "a"
    kind = f"{campaign.type} campaign" if event is Event.SCHEDULE_UPDATED else "campaign"
    busy = " with an open run" if campaign.status is Status.PAUSED and campaign.open_runs else ""
    statuses = statuses_that_allow(event, campaign.type)
    allowed = ", ".join(each for each in statuses if each is not campaign.status)
    return Refused(
        f"cannot {words} {article} {campaign.status} {kind}{busy} (allowed: {allowed})"
        f"{_update_hint(campaign) if event is Event.SCHEDULE_UPDATED else ''}"
        f"{_INSTEAD.get(campaign.status, '') if event is Event.RUN_NOW else ''}",
        status=status,
        message="Invalid schedule values" if status == UPDATE_REFUSAL else None,
    )


def _update_hint(campaign: Campaign) -> str:
    """Return what changes the schedule of a live campaign; it follows a refusal."""
    if campaign.status not in (Status.LAUNCHED, Status.EXECUTING):
        return ""
    save = f", or save the whole schedule with POST /api/v1/campaigns/{campaign.id}/schedule"
    can_save = campaign.status is Status.LAUNCHED and not campaign.type.is_window
    return f"; pause it first{save if can_save else ''}"


def _nothing_to_start_text(snapshot: Snapshot) -> str:
    campaign = snapshot.campaign
    if snapshot.current is None and campaign.type.is_window:
        return f"a {campaign.type} campaign needs a schedule before it can start"
    return (
        f"the schedule of this {campaign.status} campaign is over: no occurrence is left; "
        "save a new schedule"
    )


def _change_with_new_timer(snapshot: Snapshot, event: Event, to_status: Status) -> Change:
    """Return a change that replaces the timer; due, unclaimed occurrences become `missed`."""
    late = _unclaimed_occurrences(snapshot)
    if late is None:
        return Change(event, to_status, keep_timer=False)
    return Change(
        event,
        to_status,
        keep_timer=False,
        missed=late.missed,
        bulk_missed=late.bulk_missed,
    )


def _is_still_due(snapshot: Snapshot, schedule: Schedule) -> bool:
    """Return whether a one-off is due and unclaimed, and its edit has not moved it."""
    timer = snapshot.timer
    return (
        schedule.kind is Kind.ONCE
        and timer is not None
        and timer.at == schedule.anchor_at <= snapshot.now
        and snapshot.campaign.status is not Status.PAUSED
    )


def _unclaimed_occurrences(snapshot: Snapshot) -> Late | None:
    timer, current = snapshot.timer, snapshot.current
    if timer is None or current is None or timer.at > snapshot.now:
        return None
    if timer.kind is EventKind.OPEN:
        following = current.schedule.event_following(timer)
        if following is None or following.at > snapshot.now:
            return None
        timer = following
    if timer.kind is not EventKind.FIRE:
        return None
    # Without any grace, and a microsecond later, every occurrence of the stretch is missed.
    strict = current.schedule._replace(misfire_grace_time=0)
    return decide(strict, timer, snapshot.now + timedelta(microseconds=1))


def _event_to_arm(
    snapshot: Snapshot, source: ParsedSchedule | CurrentSchedule | None
) -> TimedEvent | None:
    """Return the event to arm: after now, and after the last occurrence's wall-clock time.

    Only the second pass of a repeated local time follows an occurrence at the same one.
    """
    schedule = source.schedule if source is not None else None
    if schedule is None:
        return None
    now = snapshot.now
    if (
        schedule.kind is Kind.WINDOW
        and snapshot.campaign.status is Status.SCHEDULED
        and schedule.anchor_at <= now
    ):
        return schedule.first_event()
    upcoming = schedule.event_after(now)
    if schedule.rule is None or upcoming is None or upcoming.kind is not EventKind.FIRE:
        return upcoming
    last = _last_occurrence(snapshot)
    if last is None:
        return upcoming
    if is_first_pass(schedule, schedule.rule, last) and upcoming.local == last.local:
        return upcoming
    return schedule.event_following(TimedEvent(EventKind.FIRE, now, last.local))


def _last_occurrence(snapshot: Snapshot) -> TimedEvent | None:
    """Return the newest past occurrence by its wall-clock time, in the zone that it had then.

    The instant alone is not enough, because the zone may have changed since that run. The armed
    event fills the gap: the current schedule has no occurrence left before it.
    """
    current, timer, last = snapshot.current, snapshot.timer, snapshot.last_occurrence_at
    if current is None:
        return None
    rule, in_zone = current.schedule.rule, zone(current.schedule.timezone)
    found = []
    if last is not None:
        found.append(TimedEvent(EventKind.FIRE, last, wall_clock(last, in_zone)))
    late = _unclaimed_occurrences(snapshot)
    if late is not None and late.missed:
        found.append(late.missed[-1])
    if timer is not None and timer.kind is EventKind.FIRE and rule is not None:
        before = last_match(rule, timer.local.toordinal() - 1)
        if before is not None:
            local = datetime.combine(date.fromordinal(before), rule.time)
            found.append(TimedEvent(EventKind.FIRE, resolve(local, in_zone), local))
    return max(found, key=lambda event: (event.local, event.at), default=None)
