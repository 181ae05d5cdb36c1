"""The binds of the statements that claim."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from daemon.domain.run.claim_plan import ClaimRequest, GatedClaim, PassedOccurrence
from storage.binary_arrays import bigints, booleans, instants, integers, texts, uuids, wall_times

CLAIM_BYTES = 4 * 1024 * 1024
"""Bytes of payloads after which a claim postpones its other runs."""

UNGATED = GatedClaim()
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def claim_binds(requests: Sequence[ClaimRequest]) -> dict[str, Any]:
    """Return the binds of ``claim_events``, without those of payloads."""
    older: list[PassedOccurrence] = []
    slices: list[tuple[int, int]] = []  # first and last index into the arrays below, from 1
    for item in requests:
        slices.append((len(older) + 1, len(older) + len(item.older)))
        older.extend(item.older)
    bulk = [(item.armed.campaign_id, many) for item in requests for many in item.bulk]
    armed = [item.armed for item in requests]
    following = [item.next for item in requests]
    return {
        "campaign_ids": bigints([entry.campaign_id for entry in armed]),
        "revisions": bigints([entry.revision for entry in armed]),
        "armed_ats": instants([entry.due_at for entry in armed]),
        "kinds": texts([entry.event.kind for entry in armed]),
        "fire_ats": instants([item.fire_at for item in requests]),
        "run_ids": uuids([item.run_id for item in requests]),
        "start_befores": instants([item.start_before for item in requests]),
        "statuses": texts([item.status for item in requests]),
        "causes": texts([item.cause for item in requests]),
        "overlaps": texts([entry.schedule.overlap for entry in armed]),
        "missed_untils": instants([item.missed_until for item in requests]),
        "next_ats": instants([after.at if after else None for after in following]),
        "next_locals": wall_times([after.local if after else None for after in following]),
        "next_kinds": texts([after.kind if after else None for after in following]),
        "backlogs": booleans([item.backlog for item in requests]),
        "mores": booleans([item.more for item in requests]),
        "older_firsts": integers([first for first, _ in slices]),
        "older_lasts": integers([last for _, last in slices]),
        "stretches": booleans([bool(item.older or item.bulk) for item in requests]),
        "brakes_ats": instants([item.brakes_at for item in requests]),
        "older_ats": instants([old.at for old in older]),
        "older_run_ids": uuids([old.run_id for old in older]),
        "older_statuses": texts([old.status for old in older]),
        "older_causes": texts([old.cause for old in older]),
        "older_start_befores": instants([old.start_before for old in older]),
        "bulk_campaign_ids": bigints([campaign_id for campaign_id, _ in bulk]),
        "bulk_firsts": instants([many.first for _, many in bulk]),
        "bulk_lasts": instants([many.last for _, many in bulk]),
        "bulk_counts": bigints([many.count for _, many in bulk]),
        "bulk_causes": texts([many.cause for _, many in bulk]),
        "due_at": latest(item.missed_until or item.armed.due_at for item in requests),
        **_gated_binds(requests),
    }


def _gated_binds(requests: Sequence[ClaimRequest]) -> dict[str, Any]:
    """Return the binds of what send windows, `late` and `dst` decide; usually all null."""
    gated = [item.gated or UNGATED for item in requests]
    return {
        "due_ats": instants([each.due_at for each in gated]),
        "open_untils": instants([each.open_until for each in gated]),
        "valid_untils": instants([each.valid_until for each in gated]),
        "next_due_ats": instants([each.next_due_at for each in gated]),
        "deferrals": booleans([each.deferred for each in gated]),
        "calendars_revisions": bigints(
            [-1 if each.calendars_revision is None else each.calendars_revision for each in gated]
        ),
    }


def payload_binds(without_payload: Collection[str]) -> dict[str, Any]:
    """Return the binds of a claim's payloads: targets that need none, and their maximum bytes."""
    return {"without_payload": texts(list(without_payload)), "max_bytes": CLAIM_BYTES}


def latest(instants: Iterable[datetime]) -> datetime:
    """Return the last of the instants, for which a claim waits."""
    return max(instants, default=_LONG_AGO)
