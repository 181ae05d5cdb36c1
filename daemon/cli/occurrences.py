"""A schedule on the screen: the sentence, and the next runs."""

from __future__ import annotations

from datetime import datetime

from daemon.cli.output import print_table
from daemon.cli.screen import screen
from daemon.domain.schedule.schedule import Schedule
from daemon.domain.schedule.timezones import wall_clock, zone
from daemon.domain.schedule.words import schedule_in_words

_NONE = "no timed runs"


def print_schedule(schedule: Schedule, now: datetime, count: int) -> None:
    """Print a schedule in words, and its next runs; in a pipe by two clocks."""
    print(schedule_in_words(schedule, now))
    in_zone = zone(schedule.timezone)
    instants = schedule.occurrences(now, count)
    if screen().is_for_people:
        shown = screen().in_zone(in_zone)
        print_table((f"runs, {shown.zone_name}",), [(shown.instant(at),) for at in instants], _NONE)
        return
    rows = [(wall_clock(at, in_zone).isoformat(), at) for at in instants]
    print_table((schedule.timezone, "UTC"), rows, _NONE)
