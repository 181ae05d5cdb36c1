"""The plug-in interface; packages outside this repository import it as `campaignd.plugin`."""

from __future__ import annotations

from daemon.domain.ports import Emit
from daemon.domain.run.attempt import Attempt
from daemon.domain.run.outcome import (
    Accepted,
    Delivered,
    NotStarted,
    Outcome,
    OutcomeUnknown,
    Reject,
    Retry,
)
from daemon.domain.run.target import Target

__all__ = [
    "Accepted",
    "Attempt",
    "Delivered",
    "Emit",
    "NotStarted",
    "Outcome",
    "OutcomeUnknown",
    "Reject",
    "Retry",
    "Target",
]
