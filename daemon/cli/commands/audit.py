"""`campaignd audit`: the auditor's three passes, now; `audit-log` is another command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Protocol

import typer

from daemon.cli.options import displays
from daemon.cli.output import print_objects, print_table
from daemon.cli.refs import OptionalRef
from daemon.cli.screen import Output, screen
from daemon.cli.store import Store, with_store
from daemon.cli.table import Column
from daemon.cli.when import parse_since
from daemon.domain.auditor.finding import (
    MEANINGS,
    AuditFinding,
    FindingKey,
    FindingKind,
    RecordedFinding,
    Severity,
)
from daemon.maintenance.examination import DERIVED_TWICE, Examined, Examiner
from storage.audit_findings import AuditFindings
from storage.auditor_reads import CAMPAIGNS_AT_ONCE, AuditorReads

_OPEN_AT_MOST = 100_000


class _Progress(Protocol):
    def __call__(self, campaigns: int, of: int) -> None: ...


@displays
def audit(
    context: typer.Context,
    ref: OptionalRef = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Look back to then: a length of time such as 7d, a date or an instant; "
            "default: the setting audit.window.",
        ),
    ] = None,
) -> int:
    """Check that every due occurrence has exactly one run.

    It reads, and repairs nothing. A suspicion is looked at again after 5 seconds. Exit code 1 if
    there is a finding of severity error.
    """
    begin = None if since is None else parse_since(since)

    async def look_at_all(store: Store) -> int:
        only = None if ref is None else await store.reads.campaign(await store.campaign_ref(ref))
        campaign_id = None if only is None else only.campaign.id
        with _shown_progress() as show:
            found, seen = await _find(store, campaign_id, begin, show)
        listed = await _with_records(store, found, campaign_id)
        if screen().output is Output.TABLE:
            print_table(_COLUMNS, map(_finding_row, listed), "no findings")
        else:
            print_objects(map(_finding_json, listed))
        if not seen.campaign_ids:
            print("nothing to check", file=sys.stderr)
        else:
            words = f"{len(seen.campaign_ids)} campaigns and {seen.occurrences} occurrences checked"
            print(words, file=sys.stderr)
        return int(any(each.severity is Severity.ERROR for each in listed))

    return with_store(context, look_at_all)


async def _find(
    store: Store, campaign_id: int | None, begin: datetime | None, show: _Progress
) -> tuple[list[AuditFinding], Examined]:
    """Carry out the three passes, on everything or on one campaign."""
    settings = store.settings.audit
    window, held_after = timedelta(seconds=settings.window), timedelta(seconds=settings.held_after)
    reads = AuditorReads(store.database)
    examiner = Examiner(reads, asyncio.sleep)
    stuck = await examiner.stuck(held_after, tuple)
    seen = Examined()
    # One campaign is cheap, so its occurrences are always derived twice.
    derive_each = DERIVED_TWICE if campaign_id is None else 1
    if campaign_id is not None:
        seen.add(
            await examiner.look(
                window, since=begin, campaign_ids=[campaign_id], derive_each=derive_each
            )
        )
    else:
        count, after = await reads.count_campaigns(), 0
        while True:
            part = await examiner.look(window, since=begin, after=after)
            seen.add(part)
            show(len(seen.campaign_ids), count)
            if len(part.campaign_ids) < CAMPAIGNS_AT_ONCE:
                break
            after = part.campaign_ids[-1]
    confirmed = await examiner.confirm(seen, window, since=begin, derive_each=derive_each)
    found = {each.key: each for each in [*stuck, *confirmed]}
    return [
        each for each in found.values() if campaign_id is None or each.campaign_id == campaign_id
    ], seen


async def _with_records(
    store: Store, found: Sequence[AuditFinding], campaign_id: int | None
) -> list[RecordedFinding]:
    """Return findings as the daemon has recorded them, or as new ones, by campaign."""
    known: dict[FindingKey, RecordedFinding] = {}
    if found:
        recorded = await AuditFindings(store.database).open_findings(
            limit=_OPEN_AT_MOST, campaign_id=campaign_id
        )
        known = {(each.kind, each.campaign_id, each.scheduled_for): each for each in recorded}
    listed = [known.get(each.key) or RecordedFinding.of(each) for each in found]
    return sorted(
        listed, key=lambda each: (each.severity, each.campaign_id, str(each.scheduled_for))
    )


@contextmanager
def _shown_progress() -> Iterator[_Progress]:
    """Show a progress bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda campaigns, of: None
        return
    # Only for a terminal: rich takes long to import.
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking", total=None)
        yield lambda campaigns, of: bar.update(task, completed=campaigns, total=max(campaigns, of))


def _finding_row(each: RecordedFinding) -> tuple[object, ...]:
    details = ", ".join(f"{name} {value}" for name, value in (each.details or {}).items())
    return (
        *(each.severity.value, each.kind.value, each.campaign_id, each.scheduled_for),
        *(MEANINGS[FindingKind(each.kind)], details or None, each.remedy),
    )


def _finding_json(each: RecordedFinding) -> dict[str, Any]:
    values = asdict(each)
    values.pop("campaign_name")
    return {**values, "remedy": each.remedy}


_COLUMNS = (
    *(Column("severity"), Column("kind"), Column("campaign"), Column("scheduled for")),
    *(Column("meaning", can_shrink=True), Column("details", is_second=True)),
    Column("remedy", is_second=True),
)
