"""The lifecycle of a campaign: one table of (status, event, guard, next status).

The contract is docs/semantics.md#lifecycle. The database's CHECKs, the claim and finish statements
and the diagram in docs/lifecycle.md agree with this table. A test walks every row, and every
refused pair, over a real database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from daemon.domain.schedule.schedule import CampaignType


class Status(StrEnum):
    """The status of a campaign."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    LAUNCHED = "launched"
    EXECUTING = "executing"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ARCHIVED = "archived"


class RunStatus(StrEnum):
    """The status of a run; the first four are open (docs/semantics.md#runs)."""

    QUEUED = "queued"
    EXECUTING = "executing"
    RETRYING = "retrying"
    HELD = "held"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MISSED = "missed"
    SKIPPED = "skipped"

    @property
    def is_open(self) -> bool:
        """Return whether the run can still change by itself or by a worker."""
        return self in OPEN_RUN


OPEN_RUN = frozenset(
    {RunStatus.QUEUED, RunStatus.EXECUTING, RunStatus.RETRYING, RunStatus.HELD},
)


class Event(StrEnum):
    """The events of a campaign's lifecycle."""

    SCHEDULE_SAVED = "schedule_saved"
    SCHEDULE_CLEARED = "schedule_cleared"
    SCHEDULE_UPDATED = "schedule_updated"
    START = "start"
    FIRE = "fire"
    WINDOW_OPENED = "window_opened"
    WINDOW_CLOSED = "window_closed"
    RUN_ENDED = "run_ended"
    PASSED = "passed"
    """An occurrence passed without an attempt: missed or skipped."""
    PAUSE = "pause"
    STOP = "stop"
    RERUN = "rerun"
    RUN_NOW = "run_now"
    RETRY = "retry"
    ARCHIVE = "archive"
    UNARCHIVE = "unarchive"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that a guard may use; ``open_runs`` is the count after the event."""

    type: CampaignType = CampaignType.ONE_TIME
    has_schedule: bool = False
    more_to_come: bool = False
    """An occurrence, an opening or a closing is ahead, or the window is open."""
    begun: bool = False
    """The first occurrence, or the window's start, is not after now."""
    open_runs: int = 0
    has_due: bool = False
    has_completed: bool = False
    archived_from: Status | None = None


Guard = Callable[[Facts], bool]
Goal = Callable[[Status, Facts], Status]


def final_status(facts: Facts) -> Status:
    """Return *final*: completed if a run completed or none was ever due, else failed."""
    return Status.COMPLETED if facts.has_completed or not facts.has_due else Status.FAILED


@dataclass(frozen=True, slots=True)
class Transition:
    """A transition from any of ``before`` to ``goal``, if ``guard`` holds at ``event``."""

    before: frozenset[Status]
    event: Event
    guard: Guard
    goal: Goal


def _always_to(status: Status) -> Goal:
    return lambda _before, _facts: status


def _keep_status(before: Status, _facts: Facts) -> Status:
    return before


def _to_final_status(_before: Status, facts: Facts) -> Status:
    return final_status(facts)


def _to_former_status(_before: Status, facts: Facts) -> Status:
    return facts.archived_from or Status.DRAFT


def _always(_facts: Facts) -> bool:
    return True


def _has_no_open_run(facts: Facts) -> bool:
    return facts.open_runs == 0


def _has_open_runs(facts: Facts) -> bool:
    return facts.open_runs > 0


S, E = Status, Event
_EVERY = frozenset(Status)
_LIVE = frozenset({S.SCHEDULED, S.LAUNCHED, S.EXECUTING})
_WAITING = frozenset({S.SCHEDULED, S.LAUNCHED})
_FINISHED = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED})


def _make_row(
    before: Status | frozenset[Status],
    event: Event,
    goal: Status | Goal,
    guard: Guard = _always,
) -> Transition:
    return Transition(
        frozenset({before}) if isinstance(before, Status) else before,
        event,
        guard,
        _always_to(goal) if isinstance(goal, Status) else goal,
    )


TABLE: tuple[Transition, ...] = (
    _make_row(_WAITING | _FINISHED | {S.DRAFT}, E.SCHEDULE_SAVED, S.SCHEDULED),
    _make_row(S.PAUSED, E.SCHEDULE_SAVED, S.PAUSED, _has_no_open_run),
    _make_row(_EVERY - {S.EXECUTING, S.ARCHIVED, S.PAUSED}, E.SCHEDULE_CLEARED, S.DRAFT),
    _make_row(S.PAUSED, E.SCHEDULE_CLEARED, S.DRAFT, _has_no_open_run),
    _make_row(frozenset({S.DRAFT, S.SCHEDULED, S.PAUSED}), E.SCHEDULE_UPDATED, _keep_status),
    _make_row(
        S.LAUNCHED,
        E.SCHEDULE_UPDATED,
        _keep_status,
        lambda f: f.type is CampaignType.EVENT_TRIGGERED,
    ),
    _make_row(
        S.DRAFT,
        E.START,
        S.SCHEDULED,
        lambda f: f.has_schedule and f.more_to_come and not f.begun,
    ),
    _make_row(
        S.DRAFT, E.START, S.LAUNCHED, lambda f: f.has_schedule and f.more_to_come and f.begun
    ),
    _make_row(S.DRAFT, E.START, S.EXECUTING, lambda f: not f.has_schedule and not f.type.is_window),
    _make_row(_LIVE, E.START, _keep_status),
    _make_row(S.PAUSED, E.START, S.EXECUTING, _has_open_runs),
    _make_row(
        S.PAUSED, E.START, S.LAUNCHED, lambda f: _has_no_open_run(f) and f.more_to_come and f.begun
    ),
    _make_row(
        S.PAUSED,
        E.START,
        S.SCHEDULED,
        lambda f: _has_no_open_run(f) and f.more_to_come and not f.begun,
    ),
    _make_row(_LIVE, E.FIRE, S.EXECUTING),
    _make_row(_WAITING, E.WINDOW_OPENED, S.LAUNCHED),
    _make_row(frozenset({S.EXECUTING, S.PAUSED}), E.WINDOW_OPENED, _keep_status),
    _make_row(S.EXECUTING, E.RUN_ENDED, _keep_status, _has_open_runs),
    _make_row(
        S.EXECUTING, E.RUN_ENDED, S.LAUNCHED, lambda f: _has_no_open_run(f) and f.more_to_come
    ),
    _make_row(
        S.EXECUTING,
        E.RUN_ENDED,
        _to_final_status,
        lambda f: _has_no_open_run(f) and not f.more_to_come,
    ),
    _make_row(S.PAUSED, E.RUN_ENDED, _keep_status, lambda f: _has_open_runs(f) or f.more_to_come),
    _make_row(
        S.PAUSED,
        E.RUN_ENDED,
        _to_final_status,
        lambda f: _has_no_open_run(f) and not f.more_to_come,
    ),
    _make_row(_WAITING, E.PASSED, S.LAUNCHED, lambda f: f.more_to_come),
    _make_row(_WAITING, E.PASSED, _to_final_status, lambda f: not f.more_to_come),
    _make_row(frozenset({S.EXECUTING, S.PAUSED}), E.PASSED, _keep_status),
    _make_row(_WAITING, E.WINDOW_CLOSED, _to_final_status),
    _make_row(S.EXECUTING, E.WINDOW_CLOSED, _keep_status),
    _make_row(S.PAUSED, E.WINDOW_CLOSED, _keep_status, _has_open_runs),
    _make_row(S.PAUSED, E.WINDOW_CLOSED, _to_final_status, _has_no_open_run),
    _make_row(_LIVE | {S.PAUSED}, E.PAUSE, S.PAUSED),
    _make_row(_LIVE | {S.PAUSED}, E.STOP, S.CANCELLED),
    _make_row(_FINISHED, E.RERUN, S.EXECUTING),
    _make_row(_LIVE, E.RUN_NOW, S.EXECUTING),
    _make_row(_WAITING | {S.COMPLETED, S.FAILED}, E.RETRY, S.EXECUTING),
    _make_row(_FINISHED | {S.DRAFT}, E.ARCHIVE, S.ARCHIVED),
    _make_row(S.ARCHIVED, E.UNARCHIVE, _to_former_status),
    _make_row(frozenset({S.DRAFT, S.ARCHIVED}), E.DELETE, _keep_status),
)
"""The lifecycle, row by row. A deletion leaves no campaign, so its goal is never written."""


def transition(status: Status, event: Event, facts: Facts) -> Status | None:
    """Return the status after ``event``, or None where the table refuses the event."""
    for row in TABLE:
        if row.event is event and status in row.before and row.guard(facts):
            return row.goal(status, facts)
    return None


def statuses_that_allow(event: Event, kind: CampaignType) -> list[Status]:
    """Return the statuses in which a campaign of a type may accept ``event``, for error texts."""
    facts = [
        Facts(kind, has_schedule, more_to_come, begun, open_runs)
        for has_schedule, more_to_come, begun in product((False, True), repeat=3)
        for open_runs in (0, 1)
    ]
    rows = [row for row in TABLE if row.event is event and any(map(row.guard, facts))]
    return [status for status in Status if any(status in row.before for row in rows)]


ARMED = frozenset({S.SCHEDULED, S.LAUNCHED, S.EXECUTING, S.PAUSED})
"""The statuses in which a campaign has a timer, if an event is ahead."""
