"""Notes on a saved schedule: accepted effects that the client may not expect."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from daemon.domain.formatting import utc_text
from daemon.domain.requests.context import CurrentSchedule, ParsedSchedule
from daemon.domain.schedule.dst_affected import dst_affected
from daemon.domain.schedule.schedule import Schedule


def notes_on(saved: ParsedSchedule | None, current: CurrentSchedule | None) -> list[str]:
    """Return the notes on a schedule that replaces the current one, as sentences.

    A recurrence that starts anew counts its intervals from another occurrence than before.
    """
    schedule = None if saved is None else saved.schedule
    notes = [] if saved is None else list(saved.notes)
    if saved is None or schedule is None or current is None or "scheduled_at" in saved.body:
        return notes
    before, after = current.schedule.rule, schedule.rule
    if before is None or after is None or schedule.anchor_at == current.schedule.anchor_at:
        return notes
    if before.interval == after.interval == 1:
        return notes
    return [
        *notes,
        f"The rule has changed, so its intervals count anew, from {utc_text(schedule.anchor_at)}. "
        "Name scheduled_at to count them from another start.",
    ]


def affected_by_clock_changes(schedule: Schedule, after: datetime) -> list[dict[str, Any]]:
    """Return the occurrences that a clock change affects within 366 days, as a response has them.

    An affected local time is in a gap or in an overlap; `at` lists the instants that are sent.
    """
    return [
        {
            "local": item.local.isoformat(),
            "kind": item.kind,
            "policy": item.policy.value,
            "at": [utc_text(at) for at in item.at],
        }
        for item in dst_affected(schedule, after)
    ]
