"""The outcomes of an attempt."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Delivered:
    """The target took the run, and the run is done."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The target took the run and finishes it later, within ``seconds`` unless it extends them."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed in a way that may pass: try again, not before ``after`` seconds."""

    reason: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Reject:
    """The target does not take this run; further attempts are useless."""

    reason: str


@dataclass(frozen=True, slots=True)
class Missed:
    """The first attempt could not start within the grace."""


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """It is unknown whether the target took the run: no answer, or one from a machine in between.

    The target's ``on_lost`` decides: the run is retried like after ``Retry``, or held.
    """

    reason: str
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The node lacked descriptors, memory or threads, or the target refuses every run for now.

    The attempt does not count: the same attempt starts again after a pause of the target. The
    target has certainly not taken the run.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Held:
    """The run waits for an operator, who releases it or fails it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Queued:
    """The run waits in the table for a worker of its target; no attempt was made."""


Outcome = (
    Delivered | Accepted | Retry | Reject | Missed | OutcomeUnknown | NotStarted | Held | Queued
)

LONGEST_S = 366 * 86_400.0
"""Maximum seconds of a wait or lease that a target can ask for."""
LONGEST_REASON = 2_000
"""Maximum characters of a reason."""


def normalize(outcome: object) -> Outcome:
    """Return a target's answer in a form that can be stored, whatever the target returned.

    Seconds are limited to [0, LONGEST_S], reasons to text that PostgreSQL and UTF-8 can hold. An
    answer that is no outcome is a failure, because repeating the attempt could send a run twice.
    """
    match outcome:
        case Delivered() | Missed() | Queued():
            return outcome
        case Accepted(seconds):
            return replace(outcome, seconds=_bounded_seconds(seconds))
        case Retry(reason, after) | OutcomeUnknown(reason, after):
            return replace(outcome, reason=_storable_text(reason), after=_bounded_seconds(after))
        case Reject(reason) | Held(reason) | NotStarted(reason):
            return replace(outcome, reason=_storable_text(reason))
    return Reject(_storable_text(f"the target answered {outcome!r:.200}, which is no outcome"))


def _bounded_seconds(value: object) -> float:
    if not isinstance(value, int | float) or math.isnan(value):
        return 0.0
    return float(min(max(value, 0.0), LONGEST_S))


def _storable_text(value: object) -> str:
    text = str(value)[:LONGEST_REASON].replace("\0", "\\0")
    return text.encode("utf-8", "backslashreplace").decode()
