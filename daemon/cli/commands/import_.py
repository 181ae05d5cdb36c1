"""`campaignd import FILE`: load campaigns in bulk; each bad line is reported with its number."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from daemon.cli.context import command_line_actor
from daemon.cli.store import Store, with_store
from daemon.domain.audit import Action, AuditEntry
from storage.audit_log import AuditLog
from storage.bulk.importer import ImportCounts, Importer
from storage.bulk.line_parser import LONGEST_LINE
from storage.bulk.planner import ScheduleDefaults
from storage.errors import StorageUnavailable

Report = Callable[[int, str], None]
Progress = Callable[[ImportCounts], None]


def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="One JSON object a line; - is standard input.",
            show_default=False,
        ),
    ],
    update: Annotated[
        bool,
        typer.Option("--update", help="Change existing campaigns to the content of their lines."),
    ] = False,
) -> int:
    """Load campaigns in bulk from JSON lines.

    A line with the uuid of an existing campaign and the same content changes nothing. Bad lines are
    reported and skipped; exit code 1 if there was one.
    """
    if str(file) == "-":
        return _import_file(context, sys.stdin.buffer, update)
    with file.open("rb") as source:
        return _import_file(context, source, update)


def _import_file(context: typer.Context, source: BinaryIO, update: bool) -> int:
    async def load_lines(store: Store) -> int:
        scheduler = store.settings.scheduler
        defaults = ScheduleDefaults(
            scheduler.continuous_interval,
            scheduler.misfire_grace_time,
            frozenset(store.settings.targets),
        )
        with _reports_of_import(source) as (report, progress):
            importer = Importer(
                store.database,
                actor=command_line_actor(),
                defaults=defaults,
                report=report,
                update=update,
            )
            try:
                await importer.load(_read_lines(source), progress)
            finally:
                _print_summary(importer.counts)
                await _record_import(store, importer.counts)
        return 1 if importer.counts.bad else 0

    return with_store(context, load_lines, create=True, privileged=True)


async def _record_import(store: Store, counts: ImportCounts) -> None:
    """Add one row to the audit log; updated campaigns have rows of their own, with the change."""
    if counts.loaded:
        entry = AuditEntry(Action.CAMPAIGNS_IMPORTED, note=f"{counts.loaded} campaigns loaded")
        with suppress(StorageUnavailable):
            await AuditLog(store.database).record(entry)


def _print_summary(counts: ImportCounts) -> None:
    words = f"{counts.loaded} loaded, {counts.unchanged} unchanged, {counts.updated} updated"
    print(f"{words}, {counts.bad} bad", file=sys.stderr)


def _read_lines(source: BinaryIO) -> Iterator[bytes]:
    """Yield the lines; keep no more of a line than shows that it is too long.

    A file that is one JSON object over several lines, as a document prints it, is one line.
    """
    limit = LONGEST_LINE + 2
    if source.seekable():
        head = source.read(limit)
        if len(head) < limit and _is_one_object(head):
            # In JSON, an end of line is only ever the space between two words.
            yield b" ".join(head.split(b"\n"))
            return
        source.seek(0)
    while raw := source.readline(limit):
        if not raw.endswith(b"\n") and len(raw) == limit:
            while (rest := source.readline(1 << 16)) and not rest.endswith(b"\n"):
                pass
        yield raw


def _is_one_object(text: bytes) -> bool:
    try:
        return b"\n" in text.strip() and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


@contextmanager
def _reports_of_import(source: BinaryIO) -> Iterator[tuple[Report, Progress | None]]:
    """Provide the reports of bad lines and of progress: with a progress bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda number, reason: print(f"line {number}: {reason}", file=sys.stderr), None
        return
    # Only for a terminal: rich takes longer to import than a small file to load.
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as ProgressBar

    status = os.fstat(source.fileno())
    size = status.st_size or None
    console = Console(stderr=True)
    # The percentage is for terminals with too few colours for the bar.
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("importing", total=size)

        def report_bad_line(number: int, reason: str) -> None:
            console.print(escape(f"line {number}: {reason}"), highlight=False, soft_wrap=True)

        def show_progress(counts: ImportCounts) -> None:
            text = f"{counts.loaded + counts.unchanged + counts.updated} campaigns"
            bar.update(task, description=text, completed=source.tell() if size else None)

        yield report_bad_line, show_progress
