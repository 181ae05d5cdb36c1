"""What a save checks of a schedule's conditions, once both its times and its calendars are known.

A stored body that is read again is not checked: a calendar that it names may be closed for longer
by now, and its schedule stays as it was saved.
"""

from __future__ import annotations

from daemon.domain.errors import INVALID_VALUES
from daemon.domain.requests.context import BodyContext, ParsedSchedule, PastStarts
from daemon.domain.requests.fields import invalid_input
from daemon.domain.requests.send_window import unknown_calendar
from daemon.domain.schedule.gate import gate_of
from daemon.domain.schedule.gated_occurrences import check_save
from daemon.domain.schedule.lateness import lateness_fault
from daemon.domain.schedule.schedule import Kind


def check_conditions(
    parsed: ParsedSchedule, ctx: BodyContext, message: str, start: str
) -> ParsedSchedule:
    """Return what was parsed, with a note where each run would wait too long.

    Args:
        parsed: A schedule without faults.
        ctx: The calendars, and which starts are accepted; history is not checked.
        message: The message of an error, which is a 422 with INVALID_VALUES.
        start: The name of the start in this body.

    Raises:
        InvalidInput: An unknown calendar, `late` without hours, or nothing that would be sent.
    """
    schedule = parsed.schedule
    if schedule is None or not schedule.is_gated or ctx.past is PastStarts.ANY:
        return parsed
    fault = note = None
    field = "send_window.calendars"
    window = schedule.send_window
    if window is not None:
        fault = unknown_calendar(window.calendars, ctx.calendars)
    if fault is None:
        gate = gate_of(schedule, ctx.calendars)
        field, fault = "late", lateness_fault(schedule.late, gate)
        if fault is None and gate is not None and ctx.past is PastStarts.REFUSE:
            fault, note = check_save(schedule, gate, ctx.now)
            field = start if schedule.kind is Kind.ONCE else "send_window"
    if fault is not None:
        raise invalid_input(422 if message == INVALID_VALUES else 400, message, {field: [fault]})
    return parsed if note is None else parsed._replace(notes=(*parsed.notes, note))
