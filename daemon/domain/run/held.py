"""Runs that wait for an operator: why each does, and which of them a command is about."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from daemon.domain.campaign.command_request import NOTE_LIMIT
from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import CampaigndError
from daemon.domain.requests.declaration import Body, declare_field
from daemon.domain.requests.fields import Faults, shown_value
from daemon.domain.requests.forms import BOOLEAN, INSTANT, Form, enum_form, integer_form, text_form
from daemon.domain.schedule.schedule import CampaignType

MESSAGE = "Invalid selection"
_MAX_ID = 2**63 - 1
_UUID_PATTERN = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_is_uuid = re.compile(_UUID_PATTERN).fullmatch


class HeldReason(StrEnum):
    """Why a run is held."""

    ATTEMPT = "attempt"
    """The outcome of an attempt is unknown."""
    LATE = "late"
    WINDOW = "window"
    """Its send window was closed."""
    FROZEN = "frozen"
    """It came due during a freeze."""
    RESTORE = "restore"
    """It came due before the database was restored, or was open in the restored database."""
    OUTAGE = "outage"
    PERSON = "person"


ERROR_PREFIXES = {
    "held: too late": HeldReason.LATE,
    "held: outside its send window": HeldReason.WINDOW,
    "held: closed by ": HeldReason.WINDOW,
    "held: due while frozen": HeldReason.FROZEN,
    "held: the database was restored": HeldReason.RESTORE,
    "the database was restored": HeldReason.RESTORE,
    "held: due during an outage": HeldReason.OUTAGE,
    "held: by ": HeldReason.PERSON,
}
"""How the error of a held run begins, by reason; every other one is that of an attempt."""


def held_reason(error: str | None) -> HeldReason:
    """Return why a held run waits, from its error."""
    for prefix, reason in ERROR_PREFIXES.items():
        if error is not None and error.startswith(prefix):
            return reason
    return HeldReason.ATTEMPT


def _read_ref(faults: Faults, path: str, value: object) -> int | UUID | None:
    if type(value) is int and 1 <= value <= _MAX_ID:
        return value
    if isinstance(value, str) and _is_uuid(value):
        return UUID(value)
    faults.add_malformed(path, f"is {shown_value(value)}, must be a campaign's id or uuid")
    return None


_REF: Form[int | UUID] = Form(
    _read_ref,
    {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": _MAX_ID},
            {"type": "string", "pattern": f"^{_UUID_PATTERN}$"},
        ]
    },
)


class HeldSelector(NamedTuple):
    """Which held runs a command is about: those to which all of the conditions apply."""

    campaign: int | UUID | None = declare_field(_REF, doc="The campaign's id or uuid.")
    target: str | None = declare_field(text_form(200))
    type: CampaignType | None = declare_field(enum_form(CampaignType))
    status: Status | None = declare_field(enum_form(Status), doc="The campaign's status.")
    reason: HeldReason | None = declare_field(enum_form(HeldReason))
    from_: datetime | None = declare_field(INSTANT, doc="Scheduled at or after this instant.")
    before: datetime | None = declare_field(INSTANT, doc="Scheduled before this instant.")
    name: str | None = declare_field(
        text_form(200), doc="The campaign's name; `*` stands for any text, `?` for one character."
    )
    all_: bool = declare_field(BOOLEAN, default=False, doc="All of them, without a condition.")

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a condition nor `all`."""
        return not any(self)

    def __str__(self) -> str:
        """Return the conditions as text, for the audit log."""
        given = zip(self._fields, self, strict=True)
        return " ".join(f"{name.removesuffix('_')}={value}" for name, value in given if value)


def _check_selector(faults: Faults, path: str, selector: HeldSelector) -> None:
    if selector.is_empty:
        faults.add_malformed(path, "is empty, must name at least one condition, or all: true")


HELD_SELECTOR = Body(HeldSelector, check=_check_selector)
"""At least one condition, so that a forgotten one does not select all."""


class ManyDecided(NamedTuple):
    """A decision on all held runs to which the conditions apply."""

    where: HeldSelector = declare_field(HELD_SELECTOR, required=True)
    confirm: int | None = declare_field(
        integer_form(0, 2**31 - 1),
        doc="The number of runs that you expect; refused if there are more.",
    )
    note: str | None = declare_field(text_form(NOTE_LIMIT), doc="Kept in the history.")


class OneDecided(NamedTuple):
    """A decision on one held run."""

    note: str | None = declare_field(text_form(NOTE_LIMIT), doc="Kept in the history.")


MANY_DECIDED = Body(ManyDecided)
ONE_DECIDED = Body(OneDecided)


class ConfirmationRequired(CampaigndError):
    """Confirmation required"""

    status = 409

    def __init__(self, count: int, what: str, *, hint: str | None = None) -> None:
        super().__init__(f"this concerns {count} {what}; repeat with confirm={count}", hint=hint)
        self.count = count


def require_confirmation(count: int, confirm: int | None, what: str = "runs") -> None:
    """Refuse a command on more than the number that its caller has confirmed.

    Raises:
        ConfirmationRequired: with the number.
    """
    if count and (confirm is None or confirm < count):
        raise ConfirmationRequired(count, what)
