"""The bodies of the lifecycle commands: a note, and the end of a pause."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from daemon.domain.errors import InvalidInput
from daemon.domain.requests.datetimes import resolve_datetime
from daemon.domain.requests.declaration import Body, declare_field
from daemon.domain.requests.fields import invalid_input, shown_value
from daemon.domain.requests.forms import DATETIME, text_form
from daemon.domain.schedule.timezones import zone

MESSAGE = "Invalid command"
NOTE_LIMIT = 500
LONGEST_PAUSE = timedelta(days=3653)
"""Ten years, leap days included."""
_NOTE_DOC = "The reason, for those who read the history."


class CommandRequest(NamedTuple):
    """A command, with a note for the history."""

    note: str | None = declare_field(text_form(NOTE_LIMIT), doc=_NOTE_DOC)


class PauseRequest(NamedTuple):
    """A pause, for a while or for good."""

    until: datetime | None = declare_field(
        DATETIME,
        doc="The campaign resumes by itself at this instant; absent: it does not. Without an "
        "offset it is wall-clock time in the zone of the schedule.",
    )
    note: str | None = declare_field(text_form(NOTE_LIMIT), doc=_NOTE_DOC)


COMMAND_REQUEST = Body(CommandRequest)
PAUSE_REQUEST = Body(PauseRequest)


def end_of_pause(until: datetime, timezone: str, now: datetime) -> datetime:
    """Return the instant of a pause's end.

    Raises:
        InvalidInput: it is not after now, or more than ten years ahead.
    """
    try:
        at = resolve_datetime(until, zone(timezone))[0]
    except OverflowError:
        raise _invalid_end(until, "in UTC outside the years 1 to 9999") from None
    if at <= now:
        raise _invalid_end(until, f"must be after {now.isoformat()}")
    if at > now + LONGEST_PAUSE:
        raise _invalid_end(until, "must be at most ten years ahead")
    return at


def _invalid_end(until: datetime, why: str) -> InvalidInput:
    text = f"is {shown_value(until.isoformat())}, {why}"
    return invalid_input(400, MESSAGE, {"until": [text]})
