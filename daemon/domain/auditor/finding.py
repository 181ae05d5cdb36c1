"""Findings of the auditor, and what an operator can do about each (docs/audit.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from daemon.domain.formatting import utc_text


class Severity(StrEnum):
    """Whether something is wrong, or an operator should know it."""

    ERROR = "error"
    NOTICE = "notice"


class FindingKind(StrEnum):
    """What contradicts the promise that every occurrence has exactly one run."""

    MISSING = "missing"
    EXTRA = "extra"
    MISCOUNTED = "miscounted"
    WRONG_TIMER = "wrong_timer"
    NO_TIMER = "no_timer"
    STUCK_TIMER = "stuck_timer"
    STUCK_RUN = "stuck_run"
    COUNTS = "counts"
    DOUBLE_ATTEMPT = "double_attempt"
    OVERTAKEN = "overtaken"
    HELD = "held"

    @property
    def severity(self) -> Severity:
        """Return the severity of every finding of this kind."""
        return Severity.NOTICE if self in _NOTICES else Severity.ERROR


_NOTICES = (FindingKind.OVERTAKEN, FindingKind.HELD)

MEANINGS = {
    FindingKind.MISSING: "an occurrence has no run",
    FindingKind.EXTRA: "a run is at no occurrence of the schedule",
    FindingKind.MISCOUNTED: "a stretch of passed occurrences has another count",
    FindingKind.WRONG_TIMER: "the timer is not at the event that follows",
    FindingKind.NO_TIMER: "an event is ahead, and there is no timer",
    FindingKind.STUCK_TIMER: "an event is due, and no node claims it",
    FindingKind.STUCK_RUN: "a run is due or lost, and no node takes it",
    FindingKind.COUNTS: "the campaign's counters do not fit its runs",
    FindingKind.DOUBLE_ATTEMPT: "two nodes made the same attempt",
    FindingKind.OVERTAKEN: "an attempt ended after another node had its run",
    FindingKind.HELD: "a run waits for a decision",
}
REMEDIES = {
    FindingKind.MISSING: "campaignd explain REF --at TIME; to send it now, campaignd rerun REF",
    FindingKind.EXTRA: "campaignd explain REF --at TIME; what was delivered cannot be undone",
    FindingKind.MISCOUNTED: "campaignd explain REF --at TIME; the runs themselves are complete",
    FindingKind.WRONG_TIMER: "save the schedule again: campaignd schedule REF",
    FindingKind.NO_TIMER: "save the schedule again: campaignd schedule REF",
    FindingKind.STUCK_TIMER: "campaignd status; start a node, or find out what locks the campaign",
    FindingKind.STUCK_RUN: "campaignd status; restart the node that should take it",
    FindingKind.COUNTS: "campaignd stop REF, then save the schedule again",
    FindingKind.DOUBLE_ATTEMPT: "ask the receiver whether it has both deliveries of the run",
    FindingKind.OVERTAKEN: "ask the receiver whether it has the run twice; its key is the run's id",
    FindingKind.HELD: "campaignd held; then campaignd release RUN, or campaignd drop RUN",
}

FindingKey = tuple[FindingKind, int, datetime | None]


class AuditFinding(NamedTuple):
    """One contradiction. `scheduled_for` is the instant that it concerns, if it concerns one."""

    kind: FindingKind
    campaign_id: int
    scheduled_for: datetime | None = None
    run_id: UUID | None = None
    details: dict[str, Any] | None = None

    @property
    def severity(self) -> Severity:
        """Return the severity of the finding's kind."""
        return self.kind.severity

    @property
    def key(self) -> FindingKey:
        """Return what identifies the finding while it is open."""
        return self.kind, self.campaign_id, self.scheduled_for


@dataclass(frozen=True, slots=True)
class RecordedFinding:
    """A row of ``audit_findings``; without an id and times if no daemon has recorded it."""

    id: int | None
    kind: FindingKind
    severity: Severity
    campaign_id: int
    run_id: UUID | None
    scheduled_for: datetime | None
    details: dict[str, Any] | None
    found_at: datetime | None = None
    seen_at: datetime | None = None
    cleared_at: datetime | None = None
    campaign_name: str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, finding: AuditFinding) -> RecordedFinding:
        """Return a finding that is not recorded."""
        kind, campaign_id, scheduled_for, run_id, details = finding
        return cls(None, kind, kind.severity, campaign_id, run_id, scheduled_for, details)

    @property
    def remedy(self) -> str:
        """Return what an operator can do."""
        run = "RUN" if self.run_id is None else str(self.run_id)
        at = "TIME" if self.scheduled_for is None else utc_text(self.scheduled_for)
        text = REMEDIES[self.kind]
        return text.replace("REF", str(self.campaign_id)).replace("RUN", run).replace("TIME", at)
