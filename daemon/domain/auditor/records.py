"""What a campaign records about itself: its counters, its attempts, and the runs of lost nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from uuid import UUID

from daemon.domain.auditor.evidence import AuditedCampaign, AuditedEvent, AuditedRun
from daemon.domain.auditor.finding import AuditFinding, FindingKind
from daemon.domain.campaign.state_machine import RunStatus, Status

ATTEMPT_PREFIX = "attempt "
_GIVEN_BACK = frozenset({"run_retrying", "run_held", "run_queued"})
"""Events after which another node may make the attempt of the same number."""


def record_findings(campaign: AuditedCampaign, nodes: Collection[str]) -> list[AuditFinding]:
    """Return what contradicts the campaign's record; `nodes` are the ids of all stored nodes."""
    found = [*_lost_run_findings(campaign, nodes), *_attempt_findings(campaign)]
    counts = _counts_finding(campaign)
    return found if counts is None else [*found, counts]


def _counts_finding(campaign: AuditedCampaign) -> AuditFinding | None:
    runs = campaign.open_runs
    counted = {
        "open_runs": (campaign.open_count, len(runs)),
        "queued_runs": (campaign.queued_count, sum(run.waits for run in runs)),
        "held_runs": (campaign.held_count, sum(map(_is_held_before_attempt, runs))),
    }
    wrong: dict[str, object] = {
        name: {"recorded": recorded, "counted": right}
        for name, (recorded, right) in counted.items()
        if recorded != right
    }
    if not _is_final_status_right(campaign):
        wrong["status"] = campaign.status
    return AuditFinding(FindingKind.COUNTS, campaign.id, None, None, wrong) if wrong else None


def _is_held_before_attempt(run: AuditedRun) -> bool:
    return run.status == RunStatus.HELD and run.attempt == 0


def _is_final_status_right(campaign: AuditedCampaign) -> bool:
    if campaign.status == Status.COMPLETED:
        return campaign.has_completed or not campaign.has_due
    return campaign.status != Status.FAILED or (campaign.has_due and not campaign.has_completed)


def _lost_run_findings(campaign: AuditedCampaign, nodes: Collection[str]) -> Iterable[AuditFinding]:
    """Yield executing runs that no node and no lease stands for."""
    for run in campaign.open_runs:
        if run.status == RunStatus.EXECUTING and run.lease_until is None and run.node not in nodes:
            details = {"status": run.status, "node": run.node, "attempt": run.attempt}
            yield AuditFinding(
                FindingKind.STUCK_RUN, campaign.id, run.scheduled_for, run.id, details
            )


def _attempt_findings(campaign: AuditedCampaign) -> Iterable[AuditFinding]:
    """Yield attempts that two nodes began, and outcomes that came after another node's attempt."""
    began: dict[UUID, dict[int, str]] = defaultdict(dict)
    for event in campaign.events:
        if event.run_id is None:
            continue
        if event.event in _GIVEN_BACK:
            began[event.run_id].clear()
        elif event.event == "overtaken":
            details = {**(event.details or {}), "node": event.actor}
            yield AuditFinding(
                FindingKind.OVERTAKEN, campaign.id, event.scheduled_for, event.run_id, details
            )
        elif (number := _attempt_number(event)) is not None:
            other = began[event.run_id].setdefault(number, event.actor)
            if other != event.actor:
                details = {"attempt": number, "nodes": [other, event.actor]}
                yield AuditFinding(
                    FindingKind.DOUBLE_ATTEMPT,
                    campaign.id,
                    event.scheduled_for,
                    event.run_id,
                    details,
                )


def _attempt_number(event: AuditedEvent) -> int | None:
    """Return the number of the attempt that the event begins; None if it begins none."""
    if event.event == "fire":
        return 1 if event.cause == "due" else None
    if event.event != "attempt" or event.cause is None:
        return None
    digits = event.cause.removeprefix(ATTEMPT_PREFIX)
    return int(digits) if digits.isascii() and digits.isdigit() else None
