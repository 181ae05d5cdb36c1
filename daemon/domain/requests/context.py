"""What both request bodies are read against, and what comes of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from daemon.domain.requests.fields import Faults, read_boolean, read_choice, read_integer
from daemon.domain.schedule.schedule import CampaignType, Overlap, Schedule, ScheduleSource

EXTRAS = ("misfire_grace_time", "coalesce", "overlap")
LONGEST_GRACE = 31_536_000
_OVERLAPS = tuple(overlap.value for overlap in Overlap)


class Past(StrEnum):
    """Which start times that are over are accepted."""

    REFUSE = "refuse"  # a save: none
    RECURRENCES = "recurrences"  # an import: those of recurrences and windows
    ANY = "any"  # history, and stored bodies read again


@dataclass(frozen=True, slots=True)
class Current:
    """The schedule that a campaign has now, and the stored body it came from."""

    source: ScheduleSource
    body: dict[str, Any]
    schedule: Schedule


class Context(NamedTuple):
    """What a body is read against; `now` is aware, durations are in seconds.

    `anchor` is a naive local DTSTART for a `schedule` body whose recurrence names no scheduled_at,
    when that body is read again later: otherwise its first occurrence would be the next one.
    """

    now: datetime
    campaign_type: CampaignType
    campaign_timezone: str = "UTC"
    continuous_interval: int = 300
    misfire_grace_time: int = 3600
    current: Current | None = None
    anchor: datetime | None = None
    past: Past = Past.REFUSE


class Saved(NamedTuple):
    """What a body asks for; `schedule` is None for `immediate`.

    `body` is what to store: as given, null fields dropped, with what was kept from before written
    out, so that it means the same when it is read again on its own.
    """

    schedule: Schedule | None
    campaign_type: CampaignType
    source: ScheduleSource
    body: dict[str, Any]


class Extras(NamedTuple):
    """How late and overlapping occurrences are treated (semantics section 6); None is absent."""

    misfire_grace_time: int | None
    coalesce: bool | None
    overlap: Overlap | None


_NO_EXTRAS = Extras(None, None, None)


def read_extras(faults: Faults, body: dict[str, Any]) -> Extras:
    """Read the three extension fields that both bodies may hold."""
    grace, coalesce, overlap = map(body.get, EXTRAS)
    if grace is None and coalesce is None and overlap is None:
        return _NO_EXTRAS
    word = read_choice(faults, "overlap", overlap, _OVERLAPS)
    return Extras(
        read_integer(faults, "misfire_grace_time", grace, 1, LONGEST_GRACE),
        read_boolean(faults, "coalesce", coalesce),
        None if word is None else Overlap(word),
    )


def without_nulls(body: dict[str, Any]) -> dict[str, Any]:
    """The body with its null fields left out: null means absent."""
    return {name: value for name, value in body.items() if value is not None}


def keep_extras(body: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Write the extension fields that `body` does not name and the campaign has into it.

    Only values that differ from the defaults are written; mutates and returns `body`.
    """
    if ctx.current is not None:
        schedule = ctx.current.schedule
        if schedule.misfire_grace_time != ctx.misfire_grace_time:
            body.setdefault("misfire_grace_time", schedule.misfire_grace_time)
        if not schedule.coalesce:
            body.setdefault("coalesce", False)
        if schedule.overlap is not Overlap.SKIP:
            body.setdefault("overlap", schedule.overlap.value)
    return body
