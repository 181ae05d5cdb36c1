"""The log events of claims: of runs, of occurrences that passed, of windows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from daemon.domain.ports import Emit, emit_each, is_enabled
from daemon.domain.run.attempt import ClaimResult
from daemon.domain.run.claim_plan import ClaimRequest
from daemon.domain.run.log_events import milliseconds
from daemon.domain.schedule.schedule import EventKind

_DIFFERING = ("campaign_id", "campaign_uuid", "run_id", "scheduled_for", "lateness_ms")


def log_claims(emit: Emit, requests: Sequence[ClaimRequest], result: ClaimResult) -> None:
    """Log what became of requests with the same result."""
    for request in requests:
        if request.older or request.bulk:
            _log_passed(emit, request, result)
    if result.made == "executing":
        if is_enabled(emit, "run_claimed"):
            emit_each(emit, "run_claimed", _fields(result), _DIFFERING, _rows(requests, result))
    elif result.made == "held":
        for request in requests:
            _log_held(emit, request, result, request.run_id, request.fire_at, request.cause)
    elif result.made is not None:
        rows = _rows(requests, result)
        emit_each(emit, f"run_{result.made}", _fields(result), _DIFFERING, rows)
    else:
        _log_windows(emit, requests, result)


def _log_passed(emit: Emit, request: ClaimRequest, result: ClaimResult) -> None:
    for stretch in request.bulk:
        emit(
            "occurrences_passed",
            campaign_id=request.armed.campaign_id,
            campaign_uuid=request.armed.campaign_uuid,
            first=stretch.first,
            last=stretch.last,
            count=stretch.count,
            cause=stretch.cause,
        )
    for passed in request.older:
        if passed.status == "held":
            _log_held(emit, request, result, passed.run_id, passed.at, passed.cause)
            continue
        row = _row(request, result, passed.run_id, passed.at)
        emit_each(emit, f"run_{passed.status}", _fields(result), _DIFFERING, [row])


def _log_held(
    emit: Emit,
    request: ClaimRequest,
    result: ClaimResult,
    run_id: UUID | None,
    scheduled_for: datetime | None,
    cause: str | None,
) -> None:
    emit(
        "run_held",
        campaign_id=request.armed.campaign_id,
        campaign_uuid=request.armed.campaign_uuid,
        run_id=run_id,
        scheduled_for=scheduled_for,
        attempt=0,
        target=result.target,
        outcome="held",
        error=cause,
    )


def _log_windows(emit: Emit, requests: Sequence[ClaimRequest], result: ClaimResult) -> None:
    for request in requests:
        event = request.armed
        if event.event.kind is EventKind.FIRE:
            continue  # its run exists already
        emit(
            "window_opened" if event.event.kind is EventKind.OPEN else "window_closed",
            campaign_id=event.campaign_id,
            campaign_uuid=event.campaign_uuid,
            from_status=result.from_status,
            to_status=result.to_status,
        )


def _fields(result: ClaimResult) -> dict[str, object]:
    return {
        "campaign_id": None,
        "campaign_uuid": None,
        "run_id": None,
        "scheduled_for": None,
        "lateness_ms": None,
        "target": result.target,
        "from_status": result.from_status,
        "to_status": result.to_status,
    }


def _rows(requests: Sequence[ClaimRequest], result: ClaimResult) -> list[tuple[object, ...]]:
    return [_row(request, result, request.run_id, request.fire_at) for request in requests]


def _row(
    request: ClaimRequest,
    result: ClaimResult,
    run_id: UUID | None,
    scheduled_for: datetime | None,
) -> tuple[object, ...]:
    """Return the values of `_DIFFERING` for an occurrence."""
    lateness = None if scheduled_for is None else result.claimed_at - scheduled_for
    return (
        request.armed.campaign_id,
        request.armed.campaign_uuid,
        run_id,
        scheduled_for,
        None if lateness is None else milliseconds(lateness),
    )
