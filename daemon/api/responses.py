"""Conversion of domain values to responses, in the form of `daemon.api.response_models`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from starlette.responses import JSONResponse, Response

from daemon.api.requests import etag_of
from daemon.campaign_service import CommandResult
from daemon.domain.api_keys import ApiKey
from daemon.domain.audit import AuditRecord
from daemon.domain.auditor.finding import RecordedFinding
from daemon.domain.campaign.dry_run import DryRun
from daemon.domain.campaign.explain import Evidence, explain_instant
from daemon.domain.campaign.hints import next_step
from daemon.domain.campaign.model import Campaign, LoggedEvent
from daemon.domain.campaign.schedule_fields import (
    next_run_at,
    next_run_fields,
    read_only_fields,
    timezone_in_force,
)
from daemon.domain.campaign.state_machine import Status
from daemon.domain.explanation import Explanation
from daemon.domain.formatting import instant_text
from daemon.domain.import_report import ImportReport
from daemon.domain.read_models import (
    CampaignDetail,
    CampaignSummary,
    NodeState,
    Overview,
    Pause,
    RunDetail,
    UpcomingEvent,
)
from daemon.domain.run.attempt import AttemptUpdate
from daemon.domain.run.target_state import TargetState
from daemon.domain.schedule.gated_occurrences import GatedOccurrence
from daemon.domain.schedule.schedule import CampaignType


@dataclass(frozen=True, slots=True)
class ResponseData:
    """A successful response before it is sent; stored for an Idempotency-Key."""

    body: dict[str, Any]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def to_response(self) -> Response:
        """Return the response to send."""
        return JSONResponse(self.body, self.status, headers=self.headers)

    def to_stored_json(self) -> dict[str, Any]:
        """Return JSON to store; the body is text, so that a replay has the same bytes."""
        text = bytes(self.to_response().body).decode()
        return {"status": self.status, "headers": self.headers, "text": text}


def replay_response(stored: dict[str, Any]) -> Response:
    """Return a stored response to send again."""
    headers = {**stored["headers"], "Idempotency-Replayed": "true"}
    return Response(stored["text"], stored["status"], headers, "application/json")


def campaign_item(campaign: Campaign, next_at: datetime | None) -> dict[str, Any]:
    """Return a CampaignItem."""
    return {
        "id": campaign.id,
        "uuid": str(campaign.uuid),
        "name": campaign.name,
        "type": campaign.type,
        "status": campaign.status,
        "timezone": campaign.timezone,
        "target": campaign.target,
        "next_run_at": instant_text(next_at),
        "created_at": instant_text(campaign.created_at),
        "updated_at": instant_text(campaign.updated_at),
    }


def campaign_list_item(listed: CampaignSummary) -> dict[str, Any]:
    """Return the CampaignItem of a list."""
    is_paused = listed.campaign.status is Status.PAUSED
    return campaign_item(listed.campaign, None if is_paused else listed.next_run_at)


def campaign_response(
    campaign: Campaign,
    next_at: datetime | None = None,
    pause: Pause | None = None,
    *,
    has_schedule: bool,
) -> dict[str, Any]:
    """Return a CampaignResponse."""
    return {
        **campaign_item(campaign, next_at),
        "payload": campaign.payload,
        "hint": next_step(campaign, has_schedule=has_schedule),
        "paused": pause_object(pause),
    }


def pause_object(pause: Pause | None) -> dict[str, Any] | None:
    """Return a PauseItem, or null."""
    if pause is None:
        return None
    since, until = instant_text(pause.since), instant_text(pause.until)
    return {"since": since, "by": pause.by, "until": until, "note": pause.note}


def next_run_of(shown: CampaignDetail) -> datetime | None:
    """Return the instant of the campaign's next run; None when no run is armed."""
    schedule = shown.current.schedule if shown.current else None
    return next_run_at(schedule, shown.timer, shown.campaign.status)


def schedule_response(shown: CampaignDetail) -> ResponseData:
    """Return a ScheduleResponse; ``immediate`` means that there is no schedule."""
    snapshot = shown.snapshot
    body = {
        **(shown.current.body if shown.current else {"schedule_type": "immediate"}),
        "timezone": timezone_in_force(snapshot),
        **read_only_fields(snapshot),
    }
    return ResponseData(body, headers={"ETag": etag_of(shown.revision)})


_LISTED = 100
"""Maximum occurrences of each part of a comparison in a response."""


def command_response(result: CommandResult, message: str) -> dict[str, Any]:
    """Return the fields that the responses of all commands on campaigns have."""
    return {
        "success": True,
        "message": message,
        "campaign_id": result.campaign_id,
        "campaign_uuid": str(result.campaign_uuid),
        "status": result.to_status,
        "timezone": result.timezone,
        **next_run_fields(result.next_run_at, result.timezone),
        **({} if result.due_at is None else {"due_at": instant_text(result.due_at)}),
    }


def dry_run_response(done: DryRun) -> dict[str, Any]:
    """Return a DryRunResponse."""
    found = done.comparison
    return {
        "success": True,
        "dry_run": True,
        "status": done.status,
        "armed": done.armed,
        "from": instant_text(done.since),
        "to": instant_text(done.until),
        "summary": found.summary,
        "changes": [
            {"was": _compared(pair.was), "now": _compared(pair.now)}
            for pair in found.changes[:_LISTED]
        ],
        "moves": [
            {name: instant_text(each.scheduled_for) for name, each in pair._asdict().items()}
            for pair in found.moves[:_LISTED]
        ],
        "appears": [_compared(each) for each in found.appears[:_LISTED]],
        "vanishes": [_compared(each) for each in found.vanishes[:_LISTED]],
        "truncated": found.truncated,
    }


def _compared(each: GatedOccurrence) -> dict[str, Any]:
    return {
        "scheduled_for": instant_text(each.scheduled_for),
        "due_at": instant_text(each.due_at),
        "outcome": each.disposition.value,
        "why": each.why,
        "local": each.local.isoformat(),
    }


def run_item(listed: RunDetail) -> dict[str, Any]:
    """Return a RunItem."""
    run = listed.run
    return {
        "id": str(run.id),
        "campaign_id": run.campaign_id,
        "campaign_uuid": str(listed.campaign_uuid),
        "campaign_name": listed.campaign_name,
        "target": listed.target,
        "scheduled_for": instant_text(run.scheduled_for),
        "status": run.status,
        "cause": run.cause,
        "attempt": run.attempt,
        "takeovers": run.takeovers,
        "node": run.node,
        "claimed_at": instant_text(run.claimed_at),
        "started_at": instant_text(run.started_at),
        "next_attempt_at": instant_text(run.next_attempt_at),
        "finished_at": instant_text(run.finished_at),
        "lateness_ms": run.lateness_ms,
        "error": run.error,
    }


def event_item(event: LoggedEvent) -> dict[str, Any]:
    """Return an EventItem."""
    return {
        "id": event.id,
        "campaign_id": event.campaign_id,
        "at": instant_text(event.at),
        "event": event.event,
        "from_status": event.from_status,
        "to_status": event.to_status,
        "cause": event.cause,
        "actor": event.actor,
        "run_id": None if event.run_id is None else str(event.run_id),
        "scheduled_for": instant_text(event.scheduled_for),
        "details": event.details,
    }


def audit_item(row: AuditRecord) -> dict[str, Any]:
    """Return an AuditItem."""
    return {**asdict(row), "at": instant_text(row.at)}


def audit_finding_item(found: RecordedFinding) -> dict[str, Any]:
    """Return an AuditFindingItem."""
    instants = ("scheduled_for", "found_at", "seen_at")
    values = asdict(found)
    values.pop("cleared_at")
    return {
        **values,
        **{name: at and instant_text(at) for name in instants for at in [values[name]]},
        "run_id": found.run_id and str(found.run_id),
        "remedy": found.remedy,
    }


def upcoming_item(upcoming: UpcomingEvent) -> dict[str, Any]:
    """Return an UpcomingItem."""
    return {
        "campaign_id": upcoming.campaign_id,
        "campaign_uuid": str(upcoming.campaign_uuid),
        "campaign_name": upcoming.campaign_name,
        "type": CampaignType(upcoming.type),
        "status": upcoming.status,
        "event": upcoming.kind,
        "at": instant_text(upcoming.at),
        "local": upcoming.local.isoformat(),
        "timezone": upcoming.timezone,
        "frozen": upcoming.frozen,
    }


def run_update(update: AttemptUpdate) -> dict[str, Any]:
    """Return a RunUpdate."""
    return {
        "success": True,
        "run_id": str(update.run_id),
        "campaign_id": update.campaign_id,
        "status": update.status,
        "attempt": update.attempt,
        "changed": update.changed,
        "lease_until": instant_text(update.lease_until),
        "next_attempt_at": instant_text(update.next_attempt_at),
    }


def key_item(key: ApiKey) -> dict[str, Any]:
    """Return a KeyItem."""
    return {
        "id": key.id,
        "name": key.name,
        "scope": key.scope,
        "status": key.status,
        "created_at": instant_text(key.created_at),
        "expires_at": instant_text(key.expires_at),
        "last_used_at": instant_text(key.last_used_at),
        "last_used_from": key.last_used_from,
        "previous_until": instant_text(key.previous_until),
        "revoked_at": instant_text(key.revoked_at),
    }


def run_retried(run_id: UUID, result: CommandResult) -> dict[str, Any]:
    """Return a RunRetried."""
    return {
        "success": True,
        "message": "Run retried",
        "run_id": str(run_id),
        "campaign_id": result.campaign_id,
        "campaign_status": result.to_status,
    }


def node_item(node: NodeState) -> dict[str, Any]:
    """Return a NodeItem."""
    return {**asdict(node), "started_at": instant_text(node.started_at)}


def cluster_status(found: Overview) -> dict[str, Any]:
    """Return a ClusterStatus."""
    live = [node for node in found.nodes if node.live]
    return {
        "now": instant_text(found.now),
        "nodes_live": len(live),
        "nodes_draining": sum(node.draining for node in live),
        "nodes_lost": len(found.nodes) - len(live),
        "overdue": found.overdue,
        "lag_s": found.lag,
        "backlog": found.backlog,
        "next_event_at": instant_text(found.next_event_at),
        "executing": found.executing,
        "queued": found.queued,
        "retrying": found.retrying,
        "held": found.held,
        "failed_24h": found.failed,
        "missed_24h": found.missed,
        "server_version": found.server_version,
        "schema_version": found.schema.version,
    }


def explanation_response(found: Explanation) -> dict[str, Any]:
    """Return an ExplanationResponse."""
    detail = found.detail
    campaign = detail.campaign
    return {
        "campaign_id": campaign.id,
        "campaign_uuid": str(campaign.uuid),
        "name": campaign.name,
        "status": campaign.status,
        "timezone": found.timezone,
        "hint": next_step(campaign, has_schedule=detail.current is not None),
        "explained": [_explained(record) for record in found.records],
        "armed": detail.timer is not None,
        "next": [
            {"event": event.kind, "at": instant_text(event.at), "local": event.local.isoformat()}
            for event in found.following
        ],
    }


def _explained(record: Evidence) -> dict[str, Any]:
    run = record.run
    return {
        "at": instant_text(record.at),
        "why": explain_instant(record),
        "run_id": None if run is None else str(run.id),
        "run_status": None if run is None else run.status,
        "lateness_ms": None if run is None else run.lateness_ms,
        "error": None if run is None else run.error,
        "events": [
            {
                "at": instant_text(event.at),
                "event": event.event,
                "cause": event.cause,
                "actor": event.actor,
            }
            for event in record.run_events
        ],
    }


def import_response(report: ImportReport) -> dict[str, Any]:
    """Return an ImportResponse."""
    return {
        "success": report.bad == 0,
        "loaded": report.loaded,
        "unchanged": report.unchanged,
        "updated": report.updated,
        "bad": report.bad,
        "bad_lines": [line._asdict() for line in report.bad_lines],
    }


def target_item(state: TargetState) -> dict[str, Any]:
    """Return a TargetItem."""
    worst = state.worst
    ended = state.completed + state.failed
    return {
        "name": state.name,
        "circuit": state.circuit,
        "paused_until": None if worst is None else instant_text(worst.paused_until),
        "error": None if worst is None else worst.error,
        "queue": sum(each.queue for each in state.nodes),
        "in_flight": sum(each.in_flight for each in state.nodes),
        "last_hour": {
            "completed": state.completed,
            "failed": state.failed,
            "success_rate": None if not ended else round(state.completed / ended, 4),
            "mean_ms": _milliseconds(state.mean_seconds),
            "slowest_ms": _milliseconds(state.slowest_seconds),
            "more": not state.counted_all,
        },
        "nodes": [
            {**asdict(each), "paused_until": instant_text(each.paused_until)}
            for each in state.nodes
        ],
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
