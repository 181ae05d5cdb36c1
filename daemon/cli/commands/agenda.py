"""`campaignd agenda [REF]`: a week or a month of runs, past and to come, drawn in the terminal."""

from __future__ import annotations

from calendar import Calendar
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any

import typer

from daemon.cli.client import AgendaEntry, Client
from daemon.cli.options import displays
from daemon.cli.output import print_objects
from daemon.cli.refs import OptionalRef
from daemon.cli.screen import Output, Screen, screen
from daemon.cli.store import with_client
from daemon.cli.table import cell_text, fitted
from daemon.cli.when import parse_when, resolve_when
from daemon.domain.schedule.timezones import resolve, wall_clock
from daemon.domain.schedule.words import MONTHS, WEEKDAYS

_LINES_OF_DAY = 4
"""Runs that a day of a month shows; more are counted."""
_NARROW, _WIDE = 80, 200
_DAY = timedelta(days=1)


@displays
def agenda(
    context: typer.Context,
    ref: OptionalRef = None,
    week: Annotated[bool, typer.Option("--week", help="Draw a week, day by day.")] = False,
    month: Annotated[bool, typer.Option("--month", help="Draw a month; the default.")] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="DAY", help="A day of the week or month to draw; default: today."
        ),
    ] = None,
) -> int:
    """Draw a week or a month of runs.

    Runs of the past have the colour of their outcome. At most 10,000 runs are drawn.
    """
    if week and month:
        raise typer.BadParameter("--week contradicts --month")
    when = None if start is None else parse_when(start, "--from")

    async def draw(client: Client) -> None:
        here, now = screen(), screen().now
        day = wall_clock(now, here.zone).date()
        if when is not None:
            instant = resolve_when(when, now, here.zone, past=False, hint="--from")
            day = wall_clock(instant, here.zone).date()
        days = _days_of_week(day) if week else list(Calendar().itermonthdates(day.year, day.month))
        wanted = None
        if ref is not None:
            shown = await client.reads.campaign(await client.campaign_ref(ref))
            wanted = shown.campaign.id
        since = resolve(datetime.combine(days[0], time()), here.zone)
        before = resolve(datetime.combine(days[-1] + _DAY, time()), here.zone)
        found = await client.agenda(since, before)
        entries = [entry for entry in found if wanted in (None, entry.campaign_id)]
        if here.output is not Output.TABLE:
            print_objects(map(_entry_object, entries))
            return
        by_day: dict[date, list[AgendaEntry]] = defaultdict(list)
        for entry in entries:
            by_day[wall_clock(entry.at, here.zone).date()].append(entry)
        lines = _week_lines(days, by_day, here) if week else _month_lines(day, days, by_day, here)
        for line in lines:
            print(line.rstrip())
        print(here.style(f"times are in {here.zone.key}", "dim"))

    return with_client(context, draw)


def _days_of_week(day: date) -> list[date]:
    monday = day - timedelta(days=day.weekday())
    return [monday + timedelta(days=number) for number in range(7)]


def _entry_object(entry: AgendaEntry) -> dict[str, Any]:
    return {
        "at": entry.at,
        "campaign_id": entry.campaign_id,
        "campaign_name": entry.name,
        "status": entry.status,
    }


def _week_lines(
    days: Sequence[date], by_day: Mapping[date, Sequence[AgendaEntry]], here: Screen
) -> Iterator[str]:
    for day in days:
        yield here.style(f"{WEEKDAYS[day.weekday()]} {day.day} {MONTHS[day.month - 1]}", "bold")
        for entry in by_day.get(day, ()):
            status = here.style(fitted(str(entry.status), 10), str(entry.status))
            yield f"  {_clock(entry, here)}  {status}  {entry.campaign_id}  {_name(entry, here)}"
        if not by_day.get(day):
            yield here.style("  -", "dim")


def _month_lines(
    of: date, days: Sequence[date], by_day: Mapping[date, Sequence[AgendaEntry]], here: Screen
) -> Iterator[str]:
    """Yield the month as a grid: a row for each week, a column for each day."""
    total = min(max(here.width or _WIDE, _NARROW), _WIDE)
    width = (total - 6) // 7
    today = wall_clock(here.now, here.zone).date()
    yield here.style(f"{MONTHS[of.month - 1]} {of.year}", "bold")
    yield " ".join(fitted(name[:3] if width < 12 else name, width) for name in WEEKDAYS)
    for first in range(0, len(days), 7):
        cells = [
            _cell(day, of, today, by_day.get(day, ()), width, here)
            for day in days[first : first + 7]
        ]
        for row in range(max(map(len, cells))):
            yield " ".join(cell[row] if row < len(cell) else " " * width for cell in cells)


def _cell(
    day: date, of: date, today: date, entries: Sequence[AgendaEntry], width: int, here: Screen
) -> list[str]:
    """Return the lines of a day; days of other months are empty."""
    if day.month != of.month:
        return [" " * width]
    number = fitted(f"[{day.day}]" if day == today else f"{day.day}", width)
    lines = [here.style(number, "bold" if day == today else "dim")]
    shown = entries if len(entries) <= _LINES_OF_DAY else entries[: _LINES_OF_DAY - 1]
    for entry in shown:
        text = fitted(f"{_clock(entry, here)} {_name(entry, here)}", width)
        lines.append(here.style(text, str(entry.status)))
    if len(entries) > len(shown):
        lines.append(fitted(f"+{len(entries) - len(shown)} more", width))
    return lines


def _clock(entry: AgendaEntry, here: Screen) -> str:
    return f"{wall_clock(entry.at, here.zone):%H:%M}"


def _name(entry: AgendaEntry, here: Screen) -> str:
    return cell_text(entry.name, here)
