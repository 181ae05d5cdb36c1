"""What a schedule in the editor would do: computed at each change, and saved by none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from daemon.api.console.planner import Plan
from daemon.domain.requests import CurrentSchedule, ParsedSchedule
from daemon.domain.requests.notes import notes_on
from daemon.domain.schedule.dst_affected import Affected, dst_affected
from daemon.domain.schedule.schedule import Schedule
from daemon.domain.schedule.words import schedule_in_words

AHEAD = 10
"""Occurrences that the preview lists."""
COMPARED = timedelta(days=30)
"""How far ahead the occurrences are compared with those of the saved schedule."""
MOST_COMPARED = 5000
NEAR = timedelta(minutes=15)
"""A run of the same target that is so near counts as a collision."""
CHECKED = 3
"""Occurrences that are checked for collisions."""


@dataclass(frozen=True, slots=True)
class Collision:
    """An occurrence that comes close to runs of other campaigns with the same target."""

    at: datetime
    others: int
    name: str
    """The name of the first other campaign."""


@dataclass(frozen=True, slots=True)
class PreviewOfSchedule:
    """The answer to a form: what is wrong with it, or what it means."""

    errors: Mapping[str, list[str]] = field(default_factory=dict)
    sentence: str = ""
    timezone: str = "UTC"
    ahead: tuple[datetime, ...] = ()
    notes: tuple[str, ...] = ()
    clock_changes: tuple[Affected, ...] = ()
    is_compared: bool = False
    """Whether there is a saved schedule with which this one was compared."""
    added: tuple[datetime, ...] = ()
    dropped: tuple[datetime, ...] = ()
    collisions: tuple[Collision, ...] = ()


async def preview_of(
    parsed: ParsedSchedule,
    current: CurrentSchedule | None,
    now: datetime,
    plan: Plan,
    *,
    campaign_id: int,
    target: str,
) -> PreviewOfSchedule:
    """Return what a parsed schedule would do.

    Args:
        parsed: the schedule in the editor.
        current: the saved schedule.
        now: the present instant.
        plan: the schedules of all campaigns.
        campaign_id: of the campaign; 0 for a new one.
        target: the target of the campaign.
    """
    schedule = parsed.schedule
    before = None if current is None else current.schedule
    old = _coming(before, now)
    if schedule is None:
        return PreviewOfSchedule(
            sentence="No schedule: it runs when it is started.",
            is_compared=before is not None,
            dropped=tuple(sorted(old)),
        )
    new = await asyncio.to_thread(_coming, schedule, now)
    ahead = tuple(schedule.occurrences(now, AHEAD))
    text = schedule_in_words(schedule, now)
    return PreviewOfSchedule(
        sentence=f"{text[:1].upper()}{text[1:]}.",
        timezone=schedule.timezone,
        ahead=ahead,
        notes=tuple(notes_on(parsed, current)),
        clock_changes=tuple(dst_affected(schedule, now)),
        is_compared=before is not None,
        added=tuple(sorted(new - old)) if before is not None else (),
        dropped=tuple(sorted(old - new)),
        collisions=await _collisions(ahead[:CHECKED], plan, campaign_id, target),
    )


def _coming(schedule: Schedule | None, now: datetime) -> set[datetime]:
    """Return the occurrences of the next 30 days."""
    if schedule is None:
        return set()
    until = now + COMPARED
    return {at for at in schedule.occurrences(now, MOST_COMPARED) if at < until}


async def _collisions(
    ahead: tuple[datetime, ...], plan: Plan, campaign_id: int, target: str
) -> tuple[Collision, ...]:
    found = []
    for at in ahead:
        period = await plan.near(at - NEAR, at + NEAR, target, but=campaign_id)
        if period is not None:
            found.append(Collision(at, period[0], period[1]))
    return tuple(found)
