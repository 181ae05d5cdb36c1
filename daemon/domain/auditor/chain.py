"""The chain of occurrences: each one has a run, and the timer is at the event that follows.

The chain begins when the schedule was armed, or when the look at it begins, and ends at the timer.
Runs of operators are outside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from daemon.domain.auditor.evidence import AuditedCampaign, AuditedRun
from daemon.domain.auditor.finding import AuditFinding, FindingKind
from daemon.domain.campaign.state_machine import ARMED
from daemon.domain.schedule.schedule import EventKind, Schedule, TimedEvent

LONGEST_CHAIN = 2000
"""Maximum occurrences of a continuous window that one look checks: the newest ones."""
_TICK = timedelta(microseconds=1)


class Chain(NamedTuple):
    """The occurrences that must have a run: those after `start`, oldest first."""

    start: datetime
    events: tuple[TimedEvent, ...]


def looks_from(campaign: AuditedCampaign, since: datetime) -> datetime:
    """Return the instant after which the campaign's runs are to be read.

    Args:
        campaign: without runs and events.
        since: the begin of the look.
    """
    known = [since, *(at for at in (campaign.saved_at, _armed_from(campaign)) if at is not None)]
    oldest = campaign.oldest_event_at
    if oldest is not None:
        known.append(oldest)  # what is older may be deleted with the history
    schedule = campaign.schedule
    if schedule is not None and schedule.every_seconds is not None:
        known.append(_start_of_longest(end_of_chain(campaign), schedule.every_seconds))
    return max(known)


def _start_of_longest(end: datetime, every_seconds: int) -> datetime:
    try:
        return end - timedelta(seconds=every_seconds) * LONGEST_CHAIN
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def end_of_chain(campaign: AuditedCampaign) -> datetime:
    """Return the last instant at which an occurrence must have a run."""
    timer, now = campaign.timer, campaign.now
    if timer is None:
        return now
    return min(now, timer.at if timer.kind is EventKind.CLOSE else timer.at - _TICK)


def chain_of(campaign: AuditedCampaign, start: datetime) -> Chain | None:
    """Return the chain that begins at `start`; None if nothing is known about it.

    A schedule that a release armed which kept no `armed_from` is judged from its oldest run on.
    """
    schedule = campaign.schedule
    if schedule is None or campaign.status not in ARMED or not campaign.is_comparable:
        return None
    if _armed_from(campaign) is None:
        kept = [run.scheduled_for for run in campaign.runs if run.cause == "schedule"]
        if not kept:
            return None
        start = kept[0] - _TICK
    return Chain(start, tuple(_occurrences(campaign, schedule, start)))


def chain_findings(
    campaign: AuditedCampaign, chain: Chain, derived: Iterable[datetime] | None = None
) -> list[AuditFinding]:
    """Return what contradicts the chain.

    Args:
        campaign: with the runs and events after the chain's start.
        chain: of the campaign.
        derived: the same occurrences, derived by other means; None: not derived.
    """
    ordered = {event.at for event in chain.events}
    found = {each.key: each for each in _run_findings(campaign, chain, ordered, None)}
    if derived is not None:
        for each in _run_findings(campaign, chain, set(derived), "rrule"):
            found.setdefault(each.key, each)
    found |= {each.key: each for each in _stretch_findings(campaign, chain)}
    timer = _timer_finding(campaign, chain)
    return [*found.values(), *([] if timer is None else [timer])]


def no_timer_finding(campaign: AuditedCampaign) -> AuditFinding | None:
    """Return the finding that a campaign has an event ahead and no timer, by its own record."""
    if campaign.timer is not None or not campaign.more_to_come or campaign.is_open_window:
        return None
    return AuditFinding(FindingKind.NO_TIMER, campaign.id)


def _armed_from(campaign: AuditedCampaign) -> datetime | None:
    """Return the instant after which the chain is owed; None where an older release armed it."""
    saved, armed = campaign.saved_at, campaign.armed_from
    return None if armed is None or (saved is not None and armed < saved) else armed


def _occurrences(
    campaign: AuditedCampaign, schedule: Schedule, start: datetime
) -> Iterable[TimedEvent]:
    """Yield the occurrences that have come due and were claimed, by the timer's position."""
    end = end_of_chain(campaign)
    event = schedule.event_after(start)
    while event is not None and event.at <= end:
        if event.kind is EventKind.FIRE:
            yield event
        event = schedule.event_following(event)


def _run_findings(
    campaign: AuditedCampaign, chain: Chain, occurrences: set[datetime], derivation: str | None
) -> Iterable[AuditFinding]:
    details = None if derivation is None else {"derivation": derivation}
    have = {run.scheduled_for for run in campaign.runs}
    stretches = _stretches(campaign)
    for at in sorted(occurrences - have):
        if not any(first <= at <= last for first, last, _ in stretches):
            yield AuditFinding(FindingKind.MISSING, campaign.id, at, None, details)
    for run in _runs_of_chain(campaign, chain):
        at = run.scheduled_for
        if at in occurrences or _is_ahead_of_chain(campaign, at):
            continue
        yield AuditFinding(FindingKind.EXTRA, campaign.id, at, run.id, details)


def _is_ahead_of_chain(campaign: AuditedCampaign, at: datetime) -> bool:
    """Return whether a run is at an occurrence after the chain: the timer is wrong, not the run."""
    schedule = campaign.schedule
    if schedule is None or at <= end_of_chain(campaign):
        return False
    return _occurrence_at(schedule, at) is not None


def _runs_of_chain(campaign: AuditedCampaign, chain: Chain) -> list[AuditedRun]:
    return [
        run for run in campaign.runs if run.cause == "schedule" and run.scheduled_for > chain.start
    ]


def _stretches(campaign: AuditedCampaign) -> list[tuple[datetime, datetime, int]]:
    """Return the first and the last instant and the count of each stretch that passed as one."""
    found = []
    for event in campaign.events:
        if event.event == "passed" and event.details and "count" in event.details:
            first, last = (datetime.fromisoformat(event.details[name]) for name in ("from", "to"))
            found.append((first, last, int(event.details["count"])))
    return found


def _stretch_findings(campaign: AuditedCampaign, chain: Chain) -> Iterable[AuditFinding]:
    schedule = campaign.schedule
    assert schedule is not None
    for first_at, last_at, count in _stretches(campaign):
        if first_at <= chain.start:
            continue
        first, last = _occurrence_at(schedule, first_at), _occurrence_at(schedule, last_at)
        right = None if first is None or last is None else schedule.count_fires(first, last)
        if right == count or (campaign.is_gated and right is not None and count < right):
            continue
        details = {"from": first_at.isoformat(), "count": count, "expected": right}
        yield AuditFinding(FindingKind.MISCOUNTED, campaign.id, last_at, None, details)


def _occurrence_at(schedule: Schedule, at: datetime) -> TimedEvent | None:
    found = schedule.latest_fire(at)
    return found if found is not None and found.at == at else None


def _timer_finding(campaign: AuditedCampaign, chain: Chain) -> AuditFinding | None:
    timer, schedule = campaign.timer, campaign.schedule
    assert schedule is not None
    if timer is not None and timer.at <= chain.start:
        return None  # an edit has armed what was due before it
    expected = _expected_events(campaign, chain, schedule)
    if timer is None:
        if None in expected:
            return no_timer_finding(campaign)
        return AuditFinding(FindingKind.NO_TIMER, campaign.id, None, None, _shown(expected))
    if any(event is not None and _is_same(event, timer) for event in expected):
        return None
    return AuditFinding(FindingKind.WRONG_TIMER, campaign.id, timer.at, None, _shown(expected))


def _expected_events(
    campaign: AuditedCampaign, chain: Chain, schedule: Schedule
) -> list[TimedEvent | None]:
    """Return the events at which the timer may be; None among them where it may be absent."""
    newest = None
    for run in reversed(_runs_of_chain(campaign, chain)):
        if (newest := _occurrence_at(schedule, run.scheduled_for)) is not None:
            break
    event = (
        schedule.event_after(chain.start) if newest is None else schedule.event_following(newest)
    )
    expected = [event]
    # An opening leaves no run, so it may have been handled; and so may a closing.
    if event is not None and event.kind is EventKind.OPEN:
        event = schedule.event_following(event)
        expected.append(event)
    is_closing = event is not None and event.kind is EventKind.CLOSE
    if is_closing and event is not None and event.at <= campaign.now:
        expected.append(None)
    return expected


def _is_same(event: TimedEvent, timer: TimedEvent) -> bool:
    return (event.at, event.kind) == (timer.at, timer.kind)


def _shown(expected: Sequence[TimedEvent | None]) -> dict[str, str]:
    event = expected[-1] or expected[0]
    return {} if event is None else {"expected": event.at.isoformat(), "event": event.kind.value}
