"""Request bodies: their declarations, their readers, and the two schedule bodies.

May import `daemon.domain.schedule` and `daemon.domain.errors`; does not know statuses or runs.
"""

from daemon.domain.requests.context import BodyContext, CurrentSchedule, ParsedSchedule, PastStarts
from daemon.domain.requests.save_schedule import is_schedule_body, read_schedule_body
from daemon.domain.requests.update_schedule import read_update_body

__all__ = [
    "BodyContext",
    "CurrentSchedule",
    "ParsedSchedule",
    "PastStarts",
    "is_schedule_body",
    "read_schedule_body",
    "read_update_body",
]
