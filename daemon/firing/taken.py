"""Tells of runs that were taken back and wait for a person: a line each, for each needs one.

Told in one turn of the event loop, by who wrote it, as soon as it is written: what is told in
several could be told of in part. Whoever takes runs back takes so many at once that it is short.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from daemon.domain.ports import Emit
from daemon.domain.states import RunStatus
from daemon.domain.work import TakenBack


def tell_held(emit: Emit, taken: Iterable[TakenBack]) -> None:
    """Tell of those among them that are held."""
    for run in taken:
        if run.status == RunStatus.HELD:
            emit("run_held", **keys(run), error=run.error)


def keys(run: TakenBack) -> dict[str, Any]:
    """What identifies a run in a line, and what became of it."""
    return {
        "campaign_id": run.campaign_id,
        "campaign_uuid": run.campaign_uuid,
        "run_id": run.run_id,
        "scheduled_for": run.scheduled_for,
        "attempt": run.attempt,
        "target": run.target,
        "outcome": run.status,
    }
