"""The tables, as SQLAlchemy metadata; no behaviour.

Shape, and why (measured for a burst of due campaigns):

- ``timers`` is narrow and holds one row per campaign with an event to come. A claim deletes or
  moves the row, so no indexed column of ``campaigns`` changes when a campaign runs (HOT updates).
- ``runs`` is keyed by (campaign_id, scheduled_for): one row per occurrence, even after a crash.
- ``campaigns`` carries the facts that decide a transition: open runs, and whether an event is to
  come. So a statement that holds the row's lock decides on current facts, not on its snapshot.
- ``runs`` and ``campaign_events`` have no foreign key: rows are only written by statements that
  hold the campaign's row lock, and the check would cost as much as the write.

Operators read ``campaigns``, ``schedules`` (a view), ``runs``, ``campaign_events``, ``nodes``,
``api_keys``, ``audit_log`` and ``audit_findings``.
"""

from __future__ import annotations

from storage.tables.access import api_keys, audit_log, idempotency_keys, login_links, sessions
from storage.tables.audit_findings import audit_findings
from storage.tables.base import INSTANT, WALL_TIME, XID8, metadata
from storage.tables.campaigns import (
    NOTABLE_EVENT,
    campaign_events,
    campaigns,
    revision_seq,
    runs,
    schedule_definitions,
    timers,
)
from storage.tables.gates import brakes, calendar_closed, calendars, control, schedule_calendars
from storage.tables.nodes import nodes, schema_versions, target_resumes
from storage.views import add_views

add_views(metadata)

__all__ = [
    "INSTANT",
    "NOTABLE_EVENT",
    "WALL_TIME",
    "XID8",
    "api_keys",
    "audit_findings",
    "audit_log",
    "brakes",
    "calendar_closed",
    "calendars",
    "campaign_events",
    "campaigns",
    "control",
    "idempotency_keys",
    "login_links",
    "metadata",
    "nodes",
    "revision_seq",
    "runs",
    "schedule_calendars",
    "schedule_definitions",
    "schema_versions",
    "sessions",
    "target_resumes",
    "timers",
]
