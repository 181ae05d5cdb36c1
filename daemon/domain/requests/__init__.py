"""Request bodies: their declarations, their readers, and the two schedule bodies.

May import `daemon.domain.schedule` and `daemon.domain.errors`; does not know statuses or runs.
"""

from daemon.domain.requests.context import Context, Current, Past, Saved
from daemon.domain.requests.save_schedule import is_schedule_body, save_schedule
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
