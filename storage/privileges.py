"""The privileges of campaignd's roles: `campaignd db roles` grants them, each start checks them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Privilege:
    """One right on one object; with ``columns``, on these columns alone."""

    right: str
    on: str
    columns: tuple[str, ...] = ()


def _on_each(rights: str, *objects: str) -> tuple[Privilege, ...]:
    return tuple(Privilege(right, on) for on in objects for right in rights.split())


_VERSION = _on_each("SELECT", "alembic_version", "schema_versions")

APPLICATION = (
    *_VERSION,
    *_on_each(
        "SELECT INSERT UPDATE DELETE",
        *("campaigns", "schedule_definitions", "timers", "runs", "nodes"),
        *("idempotency_keys", "sessions", "brakes", "calendars", "calendar_closed"),
        *("schedule_calendars", "audit_findings", "login_links"),
    ),
    *_on_each("SELECT INSERT UPDATE", "api_keys", "target_resumes"),
    *_on_each("SELECT UPDATE", "control"),
    *_on_each("SELECT INSERT DELETE", "audit_log", "campaign_events"),
    # To lock rows while old history is deleted takes UPDATE on some column.
    Privilege("UPDATE", "campaign_events", ("details",)),
    *_on_each("SELECT", "schedules", "armed_timers"),
    # UPDATE is for an import that gives an id far ahead of the sequence.
    *_on_each("USAGE UPDATE", "campaigns_id_seq"),
    *_on_each("USAGE", "schedule_revision_seq"),
)
"""For `run`, `api`, `worker`, and every other command but `db upgrade`."""

WORKER = (
    *_on_each("SELECT", "campaigns"),
    # To lock campaigns takes UPDATE on some column.
    Privilege("UPDATE", "campaigns", ("updated_at",)),
    *_on_each("SELECT", "runs"),
    Privilege(
        "UPDATE",
        "runs",
        (
            *("status", "attempt", "node", "claimed_at", "started_at", "lease_until"),
            *("next_attempt_at", "worker_queue", "answer", "error"),
        ),
    ),
    *_on_each("INSERT", "campaign_events"),
    *_on_each("SELECT", "brakes"),
)
"""For workers that acquire runs by SQL (docs/targets.md)."""

READ_ONLY = (
    *_VERSION,
    *_on_each(
        "SELECT",
        *("campaigns", "schedule_definitions", "timers", "runs", "nodes"),
        *("campaign_events", "audit_log", "schedules", "armed_timers"),
        *("brakes", "control", "calendars", "calendar_closed", "schedule_calendars"),
        *("audit_findings", "target_resumes"),
    ),
    Privilege(
        "SELECT",
        "api_keys",
        (
            *("id", "name", "scope", "created_at", "last_used_at", "revoked_at"),
            *("expires_at", "last_used_from", "previous_until"),
        ),
    ),
)
"""For reports: everything but sessions, stored responses, and the hashes of keys."""

OBJECTS = frozenset(privilege.on for privilege in APPLICATION)
"""Every table, view and sequence that is named in statements."""
