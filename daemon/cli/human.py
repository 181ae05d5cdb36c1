"""Instants as people write them: the clock time in a zone, and the distance from now.

The only user of humanize. Lengths of time that were measured, such as lateness, are written by
`daemon.domain.formatting.duration_text`, which keeps milliseconds.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo


def moment_text(at: datetime, now: datetime, zone: tzinfo) -> str:
    """Return an instant as "Mon 30 Nov 09:00"; with the year unless it is this one.

    Args:
        at: an aware instant.
        now: the present, which decides about the year.
        zone: the zone of the clock.
    """
    local = at.astimezone(zone)
    year = "" if local.year == now.astimezone(zone).year else f" {local.year}"
    seconds = f":{local.second:02}" if local.second or local.microsecond else ""
    return f"{local:%a} {local.day} {local:%b}{year} {local:%H:%M}{seconds}"


def relative_text(at: datetime, now: datetime) -> str:
    """Return the distance of an instant from now, such as "in 2 hours" or "3 minutes ago"."""
    # humanize takes 20 ms to import, which JSON and pipes do not need.
    from humanize import naturaldelta

    distance = at - now
    if abs(distance) < timedelta(seconds=1):
        return "now"
    if distance > timedelta(0):
        return f"in {naturaldelta(distance)}"
    return f"{naturaldelta(-distance)} ago"
