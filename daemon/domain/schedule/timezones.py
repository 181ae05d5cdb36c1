"""Time zones: lookup by IANA name, and wall-clock time to instants.

A name is compared with zoneinfo's set of names before any file is opened, so a caller's name never
becomes a path. `zone_data` decides which data zoneinfo reads.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from daemon.domain.schedule.zone_data import NOT_IANA, in_use

_NO_TIME = timedelta(0)

_loaded: dict[str, ZoneInfo] = {}


@cache
def zone_names() -> frozenset[str]:
    """Return all accepted IANA names, read from the zone directories once per process."""
    in_use()
    return frozenset(zoneinfo.available_timezones()) - NOT_IANA


def is_zone(name: str) -> bool:
    """Return whether `name` is an IANA name in its exact case."""
    return name in _loaded or name in zone_names()


def zone(name: str) -> ZoneInfo:
    """Return the zone called `name`; raises KeyError when there is none."""
    found = _loaded.get(name)
    if found is None:
        if name not in zone_names():
            raise KeyError(name)
        found = _loaded[name] = ZoneInfo(name)
    return found


def resolve(local: datetime, in_zone: ZoneInfo) -> datetime:
    """Return the UTC instant of a naive wall-clock time.

    By RFC 5545 section 3.3.5, the offset before a gap applies in the gap, and the first pass
    applies in an overlap. Both are the meaning of fold=0 (PEP 495).

    Raises:
        OverflowError: Outside the years 1 to 9999.
    """
    if local.fold:
        local = local.replace(fold=0)
    # `utcoffset` takes a quarter of the time of `astimezone`, which calls it too.
    offset = in_zone.utcoffset(local) or _NO_TIME
    return datetime.combine(local, local.time(), UTC) - offset


def wall_clock(instant: datetime, in_zone: ZoneInfo) -> datetime:
    """Return the naive wall-clock time of an aware instant.

    Raises:
        OverflowError: Outside the years 1 to 9999.
    """
    # Without fold, which would pass into times of day and select the second pass of other dates.
    return instant.astimezone(in_zone).replace(tzinfo=None, fold=0)


def local_time(instant: datetime, name: str) -> datetime | None:
    """Return the naive wall-clock time to show; None for a zone that this machine's data lacks."""
    return wall_clock(instant, zone(name)) if is_zone(name) else None
