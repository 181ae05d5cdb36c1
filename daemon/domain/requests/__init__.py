"""The two request bodies: one entrance for everybody who has one in hand."""

from daemon.domain.requests.context import Context, Current, Past, Saved
from daemon.domain.requests.save_schedule import save_schedule
from daemon.domain.requests.update_schedule import update_schedule

__all__ = [
    "Context",
    "Current",
    "Past",
    "Saved",
    "is_schedule_body",
    "save_schedule",
    "update_schedule",
]


def is_schedule_body(body: object) -> bool:
    """Whether this is a `schedule` body; the other one never has a schedule_type."""
    return isinstance(body, dict) and "schedule_type" in body
