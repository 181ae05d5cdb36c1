"""What an attempt can come to, and what was written of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Delivered:
    """The target took the run and it is done."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The target took the run and finishes it later, within ``seconds`` unless it asks for more."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now: try again, not sooner than ``after`` seconds from now."""

    reason: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Reject:
    """The target will not take this run; no attempt is of use."""

    reason: str


@dataclass(frozen=True, slots=True)
class Missed:
    """The first attempt could not start within the grace."""


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """Nobody knows whether the target took the run: no answer, or one of a machine in between.

    Tried again like ``Retry``, or held for a person, as the target's ``on_lost`` has it.
    """

    reason: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """The run waits for a person, who releases or fails it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Queued:
    """The run waits in the table for a worker of its target; no attempt was made."""


Outcome = Delivered | Accepted | Retry | Reject | Missed | OutcomeUnknown | Held | Queued

LONGEST_S = 366 * 86_400.0
"""The longest wait or lease that a target's answer can ask for."""
LONGEST_REASON = 2_000


def normalize(outcome: object) -> Outcome:
    """What a target answered, as it can be kept: a target's own code may return anything.

    Seconds are brought into [0, LONGEST_S], reasons into text that PostgreSQL and UTF-8 have room
    for. What is no outcome at all is a failure: repeating it could send a run twice.
    """
    match outcome:
        case Delivered() | Missed() | Queued():
            return outcome
        case Accepted(seconds):
            return replace(outcome, seconds=_seconds(seconds))
        case Retry(reason, after) | OutcomeUnknown(reason, after):
            return replace(outcome, reason=_text(reason), after=_seconds(after))
        case Reject(reason) | Held(reason):
            return replace(outcome, reason=_text(reason))
    return Reject(_text(f"the target answered {outcome!r:.200}, which is no outcome"))


def _seconds(value: object) -> float:
    if not isinstance(value, int | float) or math.isnan(value):
        return 0.0
    return float(min(max(value, 0.0), LONGEST_S))


def _text(value: object) -> str:
    text = str(value)[:LONGEST_REASON].replace("\0", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()
