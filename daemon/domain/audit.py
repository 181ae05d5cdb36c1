"""The audit log: who changed what, from where, and with which result.

docs/history.md#the-audit-log lists the actions.
"""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from daemon.domain.campaign.state_machine import Event


class Action(StrEnum):
    """What was done, as object and verb."""

    CAMPAIGN_CREATED = "campaign.created"
    CAMPAIGN_DELETED = "campaign.deleted"
    CAMPAIGN_STARTED = "campaign.started"
    CAMPAIGN_PAUSED = "campaign.paused"
    CAMPAIGN_STOPPED = "campaign.stopped"
    CAMPAIGN_RERUN = "campaign.rerun"
    CAMPAIGN_RUN_NOW = "campaign.run_now"
    CAMPAIGN_ARCHIVED = "campaign.archived"
    CAMPAIGN_UNARCHIVED = "campaign.unarchived"
    CAMPAIGN_AMENDED = "campaign.amended"
    CAMPAIGNS_IMPORTED = "campaigns.imported"
    SCHEDULE_SAVED = "schedule.saved"
    SCHEDULE_UPDATED = "schedule.updated"
    SCHEDULE_CLEARED = "schedule.cleared"
    RUN_RETRIED = "run.retried"
    RUN_RELEASED = "run.released"
    RUN_DROPPED = "run.dropped"
    RUN_FAILED = "run.failed"
    FREEZE_BEGUN = "freeze.begun"
    FREEZE_ENDED = "freeze.ended"
    TARGET_RESUMED = "target.resumed"
    TARGET_TESTED = "target.tested"
    KEY_CREATED = "key.created"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    SESSION_STARTED = "session.started"
    SESSION_REFUSED = "session.refused"
    SESSION_ENDED = "session.ended"
    REQUEST_REFUSED = "request.refused"
    CONFIGURATION_RELOADED = "configuration.reloaded"
    SCHEMA_UPGRADED = "schema.upgraded"
    RUNS_PRUNED = "runs.pruned"


CAMPAIGN_ACTIONS = {
    Event.SCHEDULE_SAVED: Action.SCHEDULE_SAVED,
    Event.SCHEDULE_UPDATED: Action.SCHEDULE_UPDATED,
    Event.SCHEDULE_CLEARED: Action.SCHEDULE_CLEARED,
    Event.START: Action.CAMPAIGN_STARTED,
    Event.PAUSE: Action.CAMPAIGN_PAUSED,
    Event.STOP: Action.CAMPAIGN_STOPPED,
    Event.RERUN: Action.CAMPAIGN_RERUN,
    Event.RUN_NOW: Action.CAMPAIGN_RUN_NOW,
    Event.RETRY: Action.RUN_RETRIED,
    Event.ARCHIVE: Action.CAMPAIGN_ARCHIVED,
    Event.UNARCHIVE: Action.CAMPAIGN_UNARCHIVED,
    Event.DELETE: Action.CAMPAIGN_DELETED,
}
"""The actions of the events that a command on a campaign writes."""


class AuditOutcome(StrEnum):
    """Whether the action was carried out."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action, as its code describes it; its `Origin` adds who and from where."""

    action: Action
    object: str | None = None
    """The type of the object: campaign, run, key, session, path, ..."""
    object_id: str | None = None
    object_name: str | None = None
    outcome: AuditOutcome = AuditOutcome.DONE
    note: str | None = None
    actor: str | None = None
    """The actor, where it is not that of the origin."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The request, command or node that acts."""

    actor: str
    """``api:KEY`` or ``cli:USER``, as in ``campaign_events``; or ``web:KEY``, ``node:NAME``."""
    command: str | None = None
    address: str | None = None
    request_id: str | None = None
    latest: deque[AuditEntry] = field(default_factory=lambda: deque(maxlen=1))
    """The newest entry of this origin, also if its transaction was rolled back."""


ORIGIN: ContextVar[Origin] = ContextVar("ORIGIN")
"""Set where a request or a command enters; read where its changes are written."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A row of the audit log."""

    id: int
    at: datetime
    actor: str
    command: str | None
    address: str | None
    action: str
    object: str | None
    object_id: str | None
    object_name: str | None
    outcome: str
    request_id: str | None
    note: str | None
