"""The values that both schedule bodies share: their context, their result and common fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from daemon.domain.requests.daylight_saving import DST, Dst, policy_of
from daemon.domain.requests.declaration import Body, declare_field
from daemon.domain.requests.forms import BOOLEAN, enum_form, integer_form
from daemon.domain.requests.send_window import SEND_WINDOW, SendWindowConfig, send_window_of
from daemon.domain.schedule.calendars import Calendar
from daemon.domain.schedule.daylight_saving import DaylightSaving
from daemon.domain.schedule.schedule import CampaignType, Overlap, Schedule, ScheduleSource
from daemon.domain.schedule.send_window import Disposition, SendWindow

MOST_FAILURES = 100
"""Maximum pause_after_failures."""
NO_CALENDARS: Mapping[str, Calendar] = MappingProxyType({})
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
    `calendars` are all that there are, where the body or the current schedule names any.
    """

    now: datetime
    campaign_type: CampaignType
    campaign_timezone: str = "UTC"
    continuous_interval: int = 300
    misfire_grace_time: int = 3600
    current: CurrentSchedule | None = None
    anchor: datetime | None = None
    past: PastStarts = PastStarts.REFUSE
    calendars: Mapping[str, Calendar] = NO_CALENDARS


class ParsedSchedule(NamedTuple):
    """The meaning of a body; `schedule` is None for `immediate`.

    `body` is the text to store: the input without null fields, plus the values kept from the former
    schedule. The stored body alone therefore has the same meaning when it is read again. `notes`
    are effects that the client may not expect, as sentences.
    """

    schedule: Schedule | None
    campaign_type: CampaignType
    source: ScheduleSource
    body: dict[str, Any]
    notes: tuple[str, ...] = ()


class ExtensionFields(NamedTuple):
    """When occurrences may start, and what becomes of late and overlapping ones.

    The rules are in docs/when-it-may-fire.md and docs/semantics.md#runs.
    """

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
    send_window: SendWindowConfig | None = declare_field(
        SEND_WINDOW,
        doc="When occurrences may start. Kept when absent; an empty object clears it.",
    )
    late: Disposition | None = declare_field(
        enum_form(Disposition),
        doc="What becomes of an occurrence that could not start within misfire_grace_time: it is "
        "missed (skip), starts all the same (send), waits for the next opening of its send window "
        "(next_window), or for an operator (hold). Kept when absent.",
    )
    dst: Dst | None = declare_field(
        DST,
        doc="What local times mean that a clock change skips or repeats. Kept when absent; an "
        "empty object clears it.",
    )

    def policy(self, current: Schedule | None) -> DaylightSaving | None:
        """Return the policy for daylight saving; that of the current schedule when absent."""
        if self.dst is not None:
            return policy_of(self.dst)
        return None if current is None else current.dst

    def conditions(self, current: Schedule | None) -> dict[str, Any]:
        """Return the fields of a `Schedule` that hold its conditions; absent ones are kept."""
        window: SendWindow | None = None if current is None else current.send_window
        if self.send_window is not None:
            window = send_window_of(self.send_window)
        late = Disposition.SKIP if current is None else current.late
        return {
            "dst": self.policy(current),
            "send_window": window,
            "late": late if self.late is None else self.late,
        }


EXTRAS = Body(ExtensionFields)
_FAILURES = "pause_after_failures"
"""A field that decides no occurrence, so that only the stored body has it."""
CONDITIONS = ("send_window", "late", "dst")
"""The fields whose stored text is the truth: a schedule holds only their meaning."""


def without_nulls(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body without its null fields: null means absent."""
    return {name: value for name, value in body.items() if value is not None}


def keep_extension_fields(body: dict[str, Any], ctx: BodyContext) -> dict[str, Any]:
    """Add the campaign's extension fields to `body` where it names none; return `body`.

    Only values that differ from the defaults are added. What clears a field is removed: a 0 that
    stands for never, and empty objects.
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
        for name in CONDITIONS:
            if name in ctx.current.body:
                body.setdefault(name, ctx.current.body[name])
    if body.get(_FAILURES) == 0:
        del body[_FAILURES]
    for name in CONDITIONS:
        if body.get(name) == {}:
            del body[name]
    return body
