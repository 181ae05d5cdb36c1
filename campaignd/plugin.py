"""The interface for targets of other packages: everything that a plug-in needs to import.

A plug-in is a callable ``make(name, options, emit)`` that returns a `Target`. The package names it
in its entry points, in the group ``campaignd.targets``. See docs/targets.md and the example in
`Target`.
"""

from __future__ import annotations

from daemon.targets.api import (
    Accepted,
    Attempt,
    Delivered,
    Emit,
    NotStarted,
    Outcome,
    OutcomeUnknown,
    Reject,
    Retry,
    Target,
)

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
