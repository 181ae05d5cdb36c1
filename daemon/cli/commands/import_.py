"""`campaignd import FILE`: load campaigns in bulk; what is wrong is told line by line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from daemon.cli.opening import Store, actor, with_store
from storage.bulk.importer import ImportCounts, Importer
from storage.bulk.line_parser import LONGEST_LINE
from storage.bulk.planner import ScheduleDefaults

Report = Callable[[int, str], None]
Progress = Callable[[ImportCounts], None]


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="One JSON object a line; - is standard input.")],
    update: Annotated[
        bool, typer.Option("--update", help="Give known campaigns the content of their lines.")
    ] = False,
) -> int:
    """Load campaigns; lines of a known uuid with the same content are left alone."""
    if str(file) == "-":
        return _import(context, sys.stdin.buffer, update)
    with file.open("rb") as source:
        return _import(context, source, update)


def _import(context: typer.Context, source: BinaryIO, update: bool) -> int:
    async def work(store: Store) -> int:
        scheduler = store.settings.scheduler
        settings = ScheduleDefaults(
            scheduler.continuous_interval,
            scheduler.misfire_grace_time,
            frozenset(store.settings.targets),
        )
        with _telling(source) as (report, progress):
            load = Importer(
                store.database, actor=actor(), settings=settings, report=report, update=update
            )
            try:
                await load.load(_lines(source), progress)
            finally:
                _summarise(load.tally)
        return 1 if load.tally.bad else 0

    return with_store(context, work, create=True)


def _summarise(tally: ImportCounts) -> None:
    words = f"{tally.loaded} loaded, {tally.unchanged} unchanged, {tally.updated} updated"
    print(f"{words}, {tally.bad} bad", file=sys.stderr)


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines without ever holding more of one than shows that it is too long."""
    limit = LONGEST_LINE + 2
    while raw := source.readline(limit):
        if not raw.endswith(b"\n") and len(raw) == limit:
            while (rest := source.readline(1 << 16)) and not rest.endswith(b"\n"):
                pass
        yield raw


@contextmanager
def _telling(source: BinaryIO) -> Iterator[tuple[Report, Progress | None]]:
    """How to report a bad line and progress: a bar on a terminal, nothing but lines elsewhere."""
    if not sys.stderr.isatty():
        yield lambda number, reason: print(f"line {number}: {reason}", file=sys.stderr), None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    status = os.fstat(source.fileno())
    size = status.st_size or None
    console = Console(stderr=True)
    # The percentage says it where a terminal has too few colours for the bar to.
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("importing", total=size)

        def report(number: int, reason: str) -> None:
            console.print(escape(f"line {number}: {reason}"), highlight=False, soft_wrap=True)

        def progress(tally: ImportCounts) -> None:
            told = f"{tally.loaded + tally.unchanged + tally.updated} campaigns"
            bar.update(task, description=told, completed=source.tell() if size else None)

        yield report, progress
