"""Explanations from the database, in the form in which the HTTP API gives them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from daemon.cli.when import When, resolve_when
from daemon.domain.campaign.explain import Evidence, explain_instant
from daemon.domain.campaign.schedule_fields import timezone_in_force
from daemon.domain.read_models import CampaignDetail
from daemon.domain.schedule.timezones import zone
from storage.campaign_reads import CampaignReads
from storage.engine import Database
from storage.explain_reads import ExplainReads

_RUNS = 5
_NEXT = 3


async def explanation(
    database: Database, shown: CampaignDetail, when: When | None
) -> dict[str, Any]:
    """Return why a campaign ran at a time, or did not; without a time, of the newest runs."""
    reads, campaign = CampaignReads(database), shown.campaign
    name = timezone_in_force(shown.snapshot)
    if when is not None:
        instants = [resolve_when(when, shown.now, zone(name), past=True, hint="--at")]
        within = when.span
    else:
        last = await reads.runs(limit=_RUNS, ref=campaign.id)
        instants = [listed.run.scheduled_for for listed in reversed(last)]
        within = timedelta(microseconds=1)
    evidence = ExplainReads(database)
    records = [await evidence.read_evidence(campaign.id, at, within) for at in instants]
    following = await reads.upcoming_of(campaign.id, _NEXT)
    return {
        "campaign_id": campaign.id,
        "campaign_uuid": campaign.uuid,
        "name": campaign.name,
        "status": campaign.status,
        "timezone": name,
        "explained": [_evidence_object(record) for record in records],
        "armed": shown.timer is not None,
        "next": [{"event": event.kind, "at": event.at} for event in following],
    }


def _evidence_object(record: Evidence) -> dict[str, Any]:
    run = record.run
    return {
        "at": record.at,
        "why": explain_instant(record),
        "run_id": run and run.id,
        "run_status": run and run.status,
        "lateness_ms": run and run.lateness_ms,
        "error": run and run.error,
        "events": [
            {"at": event.at, "event": event.event, "cause": event.cause, "actor": event.actor}
            for event in record.run_events
        ],
    }
