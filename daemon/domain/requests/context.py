"""The values that both schedule bodies share: their context, their result and common fields."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from daemon.domain.requests.declaration import Body, declare_field
from daemon.domain.requests.forms import BOOLEAN, enum_form, integer_form
from daemon.domain.schedule.schedule import CampaignType, Overlap, Schedule, ScheduleSource

MOST_FAILURES = 100
"""Maximum pause_after_failures."""
LONGEST_GRACE = 31_536_000
"""Maximum misfire_grace_time in seconds: one year."""


class PastStarts(StrEnum):
    """The start times before now that are accepted."""

    REFUSE = "refuse"  # a save: none
    RECURRENCES = "recurrences"  # an import: those of recurrences and windows
    ANY = "any"  # history, and stored bodies that are read again


@dataclass(frozen=True, slots=True)
class CurrentSchedule:
    """A campaign's current schedule, and the stored body from which it was read."""

    source: ScheduleSource
    body: dict[str, Any]
    schedule: Schedule

    @property
    def start_as_written(self) -> str | None:
        """The stored start; None for a recurrence that was given none."""
        name = "scheduled_at" if self.source is ScheduleSource.SCHEDULE else "startdate"
        written: str | None = self.body.get(name)
        return written


class BodyContext(NamedTuple):
    """The facts outside a body that decide its meaning; `now` is aware, durations are in seconds.

    `anchor` is a naive local DTSTART. A stored `schedule` body whose recurrence has no scheduled_at
    needs it when the body is read again: its first occurrence would otherwise be the next one.
    """

    now: datetime
    campaign_type: CampaignType
    campaign_timezone: str = "UTC"
    continuous_interval: int = 300
    misfire_grace_time: int = 3600
    current: CurrentSchedule | None = None
    anchor: datetime | None = None
    past: PastStarts = PastStarts.REFUSE


class ParsedSchedule(NamedTuple):
    """The meaning of a body; `schedule` is None for `immediate`.

    `body` is the text to store: the input without null fields, plus the values kept from the former
    schedule. The stored body alone therefore has the same meaning when it is read again.
    """

    schedule: Schedule | None
    campaign_type: CampaignType
    source: ScheduleSource
    body: dict[str, Any]


class ExtensionFields(NamedTuple):
    """The treatment of late and overlapping occurrences (docs/semantics.md#runs)."""

    overlap: Overlap | None = declare_field(
        enum_form(Overlap),
        doc="Effect of an open run on the next occurrence: it is skipped, it waits, or it runs "
        "beside. Kept when absent.",
    )
    misfire_grace_time: int | None = declare_field(
        integer_form(1, LONGEST_GRACE),
        doc="Seconds after which an occurrence is too late to start. Kept when absent.",
    )
    coalesce: bool | None = declare_field(
        BOOLEAN, doc="Fire only the newest of several late occurrences. Kept when absent."
    )
    pause_after_failures: int | None = declare_field(
        integer_form(0, MOST_FAILURES),
        doc="The campaign is paused when so many of its runs in a row have failed; 0: never. Kept "
        "when absent.",
    )


EXTRAS = Body(ExtensionFields)
_FAILURES = "pause_after_failures"
"""A field that decides no occurrence, so that only the stored body has it."""


def without_nulls(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without its null fields: null means absent."""
    return {name: value for name, value in body.items() if value is not None}


def keep_extension_fields(body: dict[str, Any], ctx: BodyContext) -> dict[str, Any]:
    """Add the campaign's extension fields to `body` where it names none; return `body`.

    Only values that differ from the defaults are added; a 0 that stands for never is removed.
    """
    if ctx.current is not None:
        schedule = ctx.current.schedule
        if schedule.misfire_grace_time != ctx.misfire_grace_time:
            body.setdefault("misfire_grace_time", schedule.misfire_grace_time)
        if not schedule.coalesce:
            body.setdefault("coalesce", False)
        if schedule.overlap is not Overlap.SKIP:
            body.setdefault("overlap", schedule.overlap.value)
        if _FAILURES in ctx.current.body:
            body.setdefault(_FAILURES, ctx.current.body[_FAILURES])
    if body.get(_FAILURES) == 0:
        del body[_FAILURES]
    return body
