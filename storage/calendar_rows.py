"""Maps shared calendars to and from the rows of ``calendars`` and ``calendar_closed``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.schedule.calendars import Calendar, CalendarSet, Closure
from daemon.domain.schedule.weekly_hours import WeeklyHours
from storage.tables import calendar_closed, calendars, control

_REVISION = sa.select(control.c.calendars_revision)
_LOAD = sa.select(calendars).order_by(calendars.c.name)
_LOAD_CLOSED = sa.select(calendar_closed).order_by(calendar_closed.c.id)


async def load_calendars(
    connection: AsyncConnection, *, lock: bool = False
) -> Mapping[str, Calendar]:
    """Return all calendars by name.

    Args:
        connection: the connection of the transaction that reads.
        lock: whether calendars stay as they are until the transaction ends. The caller has locked
            its campaign first, as an edit of a calendar does.
    """
    rows = await connection.execute(_LOAD.with_for_update(read=True) if lock else _LOAD)
    heads = rows.all()
    if not heads:
        return {}
    return calendars_from(heads, (await connection.execute(_LOAD_CLOSED)).all())


async def load_calendar_set(connection: AsyncConnection) -> CalendarSet:
    """Return all calendars with a revision that is not newer than they are."""
    revision = (await connection.execute(_REVISION)).scalar_one()
    return CalendarSet(revision, await load_calendars(connection))


def calendars_from(heads: Iterable[Any], closed: Iterable[Any]) -> dict[str, Calendar]:
    """Return the calendars that rows of ``calendars`` and ``calendar_closed`` hold."""
    closures: defaultdict[str, list[Closure]] = defaultdict(list)
    for row in closed:
        if row.first_on is not None:
            pair = row.first_on, row.last_on
        elif row.starts_local is not None:
            pair = row.starts_local, row.ends_local
        else:
            pair = row.starts_at, row.ends_at
        closures[row.calendar].append(Closure(*pair, row.label))
    return {
        row.name: Calendar(
            row.name,
            tuple(closures[row.name]),
            None if row.weekly is None else WeeklyHours(tuple(row.weekly)),
            row.timezone,
            row.title,
            row.covers_to,
        )
        for row in heads
    }
