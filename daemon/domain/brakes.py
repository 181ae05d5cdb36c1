"""The brakes: freezes, under which nothing begins, and marks on what came due during one.

A freeze covers everything or one target. When it ends, a mark says what becomes of the occurrences
that came due meanwhile (docs/brakes.md). `now` is always an argument.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from daemon.domain.errors import Conflict, InvalidInput
from daemon.domain.formatting import utc_text
from daemon.domain.requests.declaration import Body, declare_field
from daemon.domain.requests.fields import Faults, read_choice
from daemon.domain.requests.forms import INSTANT, enum_form, integer_form, text_form

EVERYTHING = "*"
"""The scope of a freeze of all targets."""
_TARGET = "target:"
MAX_FREEZE = timedelta(days=366)
NOTE_LIMIT = 500


class Overdue(StrEnum):
    """What becomes of the occurrences that came due during a freeze."""

    HOLD = "hold"
    """A person decides on each."""
    SKIP = "skip"
    """They are missed."""
    POLICY = "policy"
    """Each goes by the grace of its own schedule."""


HELD_CAUSE = "held: due while frozen"
MISSED_CAUSE = "missed: due while frozen"


class Mark(NamedTuple):
    """What becomes of occurrences that are due from ``since`` to before ``before``."""

    since: datetime
    before: datetime
    status: str
    """held or missed."""
    cause: str

    def holds_for(self, due_at: datetime) -> bool:
        """Return whether the mark is about an occurrence that is due at an instant."""
        return self.since <= due_at < self.before


@dataclass(frozen=True, slots=True)
class Brake:
    """The brake of one scope. Instants are aware UTC, by the database's clock."""

    scope: str
    changed_at: datetime
    frozen_at: datetime | None = None
    frozen_by: str | None = None
    note: str | None = None
    thaw_at: datetime | None = None
    mark: Mark | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether nothing of the scope begins."""
        return self.frozen_at is not None

    @property
    def target(self) -> str | None:
        """The target of the scope; None if the scope is all targets."""
        return None if self.scope == EVERYTHING else self.scope.removeprefix(_TARGET)

    def describe(self) -> str:
        """Return since when it is frozen, by whom and why, as a part of a sentence."""
        since = "?" if self.frozen_at is None else utc_text(self.frozen_at)
        until = "" if self.thaw_at is None else f" until {utc_text(self.thaw_at)}"
        only = "" if self.target is None else f"target {self.target} "
        note = "" if self.note is None else f": {self.note}"
        return f"{only}frozen since {since}{until} by {self.frozen_by}{note}"


@dataclass(frozen=True)
class Brakes:
    """All brakes of a database, as read at one moment."""

    brakes: Sequence[Brake] = field(default=())

    @cached_property
    def changed_at(self) -> datetime | None:
        """When the last change was made; it only grows. None: there never was one."""
        return max((brake.changed_at for brake in self.brakes), default=None)

    @cached_property
    def frozen(self) -> Sequence[Brake]:
        """The brakes that are on, that of everything first."""
        return sorted((each for each in self.brakes if each.is_frozen), key=lambda each: each.scope)

    @property
    def summary(self) -> str | None:
        """What is frozen, in a word: all, or the names of targets; None if nothing is."""
        if any(each.target is None for each in self.frozen):
            return "all"
        return ", ".join(str(each.target) for each in self.frozen) or None

    def freeze_of(self, target: str) -> Brake | None:
        """Return the brake that keeps attempts on a target from beginning."""
        return next((each for each in self.frozen if each.target in (None, target)), None)

    def marks_of(self, target: str) -> list[Mark]:
        """Return the marks on occurrences of a target, the newest first, which wins."""
        found = [
            each for each in self.brakes if each.mark is not None and each.target in (None, target)
        ]
        found.sort(key=lambda each: each.changed_at, reverse=True)
        return [each.mark for each in found if each.mark is not None]


NO_BRAKES = Brakes()


class Frozen(Conflict):
    """Frozen"""

    def __init__(self, brake: Brake) -> None:
        super().__init__(f"{brake.describe()}; thaw first")


def scope_of(target: str | None) -> str:
    """Return the scope of one target, or of everything."""
    return EVERYTHING if target is None else f"{_TARGET}{target}"


@dataclass(frozen=True, slots=True)
class Freeze:
    """A freeze that was asked for."""

    brake: Brake
    changed: bool
    """False if it was in force already, with the same note and end."""
    transaction: str
    """The transaction that made it, by whose visibility one sees which nodes obey."""


@dataclass(frozen=True, slots=True)
class Thaw:
    """The end of a freeze, and the occurrences that came due meanwhile."""

    scope: str
    overdue: Overdue
    waiting: int
    """Occurrences that were due when it ended."""


MESSAGE = "Invalid freeze values"


class FreezeRequest(NamedTuple):
    """What to freeze."""

    target: str | None = declare_field(text_form(200), doc="Only this target; absent: everything.")
    until: datetime | None = declare_field(
        INSTANT, doc="When it ends by itself, within 366 days; what came due is held then."
    )
    note: str | None = declare_field(text_form(NOTE_LIMIT), doc="Why, for those who see it.")


class ThawRequest(NamedTuple):
    """The end of a freeze."""

    target: str | None = declare_field(
        text_form(200), doc="The freeze of this target; absent: that of everything."
    )
    overdue: Overdue = declare_field(
        enum_form(Overdue),
        default=Overdue.HOLD,
        doc="What becomes of occurrences that came due meanwhile: held for a person, missed, or "
        "each by its schedule's grace.",
    )
    confirm: int | None = declare_field(
        integer_form(0, 2**31 - 1),
        doc="With policy, the number of runs that may begin at once; refused if there are more.",
    )
    note: str | None = declare_field(text_form(NOTE_LIMIT), doc="Kept in the audit log.")


FREEZE_REQUEST = Body(FreezeRequest)
THAW_REQUEST = Body(ThawRequest)


def check_freeze(request: FreezeRequest, targets: Collection[str], now: datetime) -> None:
    """Refuse an unknown target, and an end that is past or too far. Raises InvalidInput (422)."""
    faults = Faults()
    if request.target is not None and request.target not in targets:
        read_choice(faults, "target", request.target, targets)
    if request.until is not None and not now < request.until <= now + MAX_FREEZE:
        faults.add_unsupported(
            "until", f"is {utc_text(request.until)}, must be after now and within 366 days"
        )
    if faults:
        error = faults.to_error(MESSAGE)
        raise InvalidInput(422, MESSAGE, error.detail, error.errors)
