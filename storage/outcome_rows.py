"""Writes outcomes: the columns of each, and the statement over a batch."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.campaign.state_machine import RunStatus
from daemon.domain.run.outcome import (
    Accepted,
    Delivered,
    Held,
    Missed,
    NotStarted,
    Outcome,
    OutcomeUnknown,
    Queued,
    Reject,
    Retry,
)
from storage.binary_arrays import bigints, floats, instants, smallints, texts
from storage.queries import query


def finish_binds(
    rows: Sequence[tuple[int, datetime, int, str, str, str | None, float | None]],
    *,
    started_ats: Sequence[datetime | None] | None = None,
    node: str | None = None,
    actor: str | None = None,
    note: str | None = None,
) -> dict[str, Any]:
    """Return the binds of ``finish_runs``.

    Args:
        rows: campaign id, scheduled for, attempt, expected status, and the outcome's
            ``columns_of``.
        started_ats: the start of each attempt, None if unknown.
        node: the node of the attempts; None if the attempt alone is the guard.
        actor: the caller, if not the node.
        note: what a person wrote about it.
    """
    columns = zip(*rows, strict=True) if rows else ((),) * 7
    ids, ats, attempts, expected, outcomes, errors, waits = columns
    return {
        "campaign_ids": bigints(ids),
        "scheduled_fors": instants(ats),
        "attempts": smallints(attempts),
        "expected": texts(expected),
        "outcomes": texts(outcomes),
        "errors": texts(errors),
        "waits": floats(waits),
        "started_ats": instants(started_ats or [None] * len(rows)),
        "node": node,
        "actor": actor,
        "details": note_details(note),
        "now": None,
    }


def note_details(note: str | None) -> str | None:
    """Return the details of an event with a person's note, as JSON text."""
    return None if note is None else json.dumps({"note": note})


async def lock_campaigns(
    connection: AsyncConnection, campaign_ids: Collection[int]
) -> Collection[int]:
    """Lock campaigns until the transaction ends, except those that another session has locked.

    Returns:
        The ids of the locked campaigns.
    """
    wanted = set(campaign_ids)
    binds = {"campaign_ids": bigints(list(wanted)), "wanted": len(wanted)}
    locked: list[int] | None = await connection.scalar(query("lock_campaigns"), binds)
    return wanted if locked is None else set(locked)


async def write_finish(connection: AsyncConnection, binds: dict[str, Any]) -> Sequence[Any]:
    """Write outcomes of campaigns that the transaction has locked before."""
    rows: Sequence[Any] = (await connection.execute(query("finish_runs"), binds)).all()
    return rows


def columns_of(outcome: Outcome) -> tuple[RunStatus, str | None, float | None]:
    """Return status, error, and the seconds until the next attempt or the lease's end."""
    match outcome:
        case Delivered():
            return RunStatus.COMPLETED, None, None
        case Reject(reason):
            return RunStatus.FAILED, reason, None
        case Missed():
            return RunStatus.MISSED, None, None
        case Accepted(seconds):
            return RunStatus.EXECUTING, None, seconds
        case Retry(reason, after):
            return RunStatus.RETRYING, reason, after
        case Held(reason):
            return RunStatus.HELD, reason, None
        case Queued():
            return RunStatus.QUEUED, None, None
        case OutcomeUnknown():
            raise AssertionError("an unknown outcome is decided before it is written")
        case NotStarted():
            raise AssertionError("an attempt that did not start has no outcome to write")
