"""Loading campaigns in bulk: lines in, batches of COPY out, one transaction each.

What an import promises: a bad line is reported and the others load; loading the same file again
changes nothing; a uuid that is known is never inserted twice, an id that is taken never stolen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa

from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import CampaigndError
from daemon.domain.schedule.schedule import CampaignType
from storage.bulk.copy_writer import Numbered, write_new
from storage.bulk.line_parser import BadLine, Line, payload_text, read_line
from storage.bulk.planner import (
    KnownCampaigns,
    PlannedCampaign,
    ScheduleDefaults,
    differences,
    filled_in,
    plan_new,
    plan_update,
)
from storage.campaigns import Campaigns
from storage.engine import Database
from storage.errors import StorageError, first_line
from storage.queries import query
from storage.schedule_rows import schedule_from
from storage.without_orm import AsyncConnection

BATCH_LINES = 2000
BATCH_BYTES = 8 * 1024 * 1024
_ROUNDS = 3
_OF_THE_DATA = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)
"""Refusals that a line brings about; all others are faults of ours, or of the server."""
_LOCK = 0x63616D70
"""Imports write one at a time, so that two of one file do not race for its uuids."""


@dataclass(slots=True)
class ImportCounts:
    """What became of the lines so far."""

    loaded: int = 0
    unchanged: int = 0
    updated: int = 0
    bad: int = 0


class Importer:
    """One import: its settings, and what became of it.

    Args:
        database: where to.
        actor: who loads, for ``campaign_events``.
        settings: what lines are read with.
        update: whether a known campaign with other content gets the line's.
        report: called with number and reason of each bad line.
        now: an instant to decide by; the server's clock if not given.
    """

    def __init__(
        self,
        database: Database,
        *,
        actor: str,
        settings: ScheduleDefaults,
        report: Callable[[int, str], None],
        update: bool = False,
        now: datetime | None = None,
    ) -> None:
        self._database = database
        self._actor = actor
        self._settings = settings
        self._report = report
        self._update = update
        self._now = now
        self.tally = ImportCounts()

    async def load(
        self, lines: Iterator[bytes], progress: Callable[[ImportCounts], None] | None = None
    ) -> ImportCounts:
        """Load every line; empty ones are passed over.

        While the server writes one batch the next one is read.
        """
        reader = _Reader(lines)
        batch = await asyncio.to_thread(reader.next_batch)
        while batch is not None:
            coming = asyncio.create_task(asyncio.to_thread(reader.next_batch))
            try:
                bad = batch.bad
                bad.extend(await self._load(batch.lines))
            except BaseException:
                with suppress(BaseException):
                    await coming
                raise
            for number, reason in sorted(bad):
                self._report(number, reason)
            self.tally.bad += len(bad)
            if progress is not None:
                progress(self.tally)
            batch = await coming
        return self.tally

    async def _load(self, lines: list[Line]) -> list[tuple[int, str]]:
        """Load lines in one transaction; in halves, and so on, if the server refuses that."""
        if not lines:
            return []
        fault: BaseException | None = None
        for _ in range(_ROUNDS):
            try:
                return await self._load_once(lines)
            except psycopg.errors.UniqueViolation as error:
                # Somebody took an id or a uuid in between; the next look sees it.
                fault = error
            except (psycopg.Error, sa.exc.DBAPIError) as error:
                fault = error.orig if isinstance(error, sa.exc.DBAPIError) else error
                if not isinstance(fault, _OF_THE_DATA):
                    raise
                break
        if len(lines) == 1:
            return [(lines[0].number, f"can not be stored: {first_line(fault or Exception())}")]
        middle = len(lines) // 2
        return [*await self._load(lines[:middle]), *await self._load(lines[middle:])]

    async def _load_once(self, lines: list[Line]) -> list[tuple[int, str]]:
        bad: list[tuple[int, str]] = []
        unchanged = 0
        changed: list[tuple[Line, KnownCampaigns, list[str]]] = []
        new: list[PlannedCampaign] = []
        planned: set[UUID] = set()
        async with self._database.transaction() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            found = await _look_up(connection, lines, self._now)
            for line in lines:
                known = found.known.get(line.uuid)
                try:
                    if line.uuid in planned:
                        unchanged += 1
                    elif known is None:
                        new.append(plan_new(line, found.now, self._settings))
                        planned.add(line.uuid)
                    elif names := differences(line, known, found.now, self._settings):
                        changed.append((line, known, names))
                    else:
                        unchanged += 1
                except BadLine as error:
                    bad.append((line.number, str(error)))
            if new:
                numbered = await _number(connection, new, found.taken)
                await write_new(connection, numbered, self._actor, found.now)
        self.tally.loaded += len(new)
        self.tally.unchanged += unchanged
        for line, known, names in changed:
            try:
                await self._apply(line, known, names)
            except (BadLine, CampaigndError) as error:
                if isinstance(error, StorageError):
                    raise
                bad.append((line.number, str(error)))
            else:
                self.tally.updated += 1
        return bad

    async def _apply(self, line: Line, known: KnownCampaigns, names: list[str]) -> None:
        """Give a known campaign a line's content, in a transaction of its own."""
        if not self._update:
            raise BadLine(
                f"campaign {known.id} has the uuid {known.uuid} and differs in {', '.join(names)};"
                " --update applies the line",
            )
        line = filled_in(line, known)
        async with Campaigns(self._database).edit(known.id, self._now) as edit:
            change = plan_update(line, edit.snapshot, known, names, self._settings)
            if change is not None:
                await edit.apply(change, self._actor)
            plain = {"name", "timezone", "target", "payload"}.intersection(names)
            if plain:
                await edit.amend({name: getattr(line, name) for name in plain}, self._actor)


@dataclass(slots=True)
class _Batch:
    lines: list[Line]
    bad: list[tuple[int, str]]


class _Reader:
    """Makes batches of lines; a batch never has one uuid with two contents."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = enumerate(lines, start=1)
        self._held: Line | None = None

    def next_batch(self) -> _Batch | None:
        batch = _Batch([], [])
        seen: dict[Any, int] = {}
        size = 0
        if self._held is not None:
            batch.lines.append(self._held)
            seen[self._held.uuid] = self._held.content
            self._held = None
        ended = True
        for number, raw in self._lines:
            if raw.isspace():
                continue
            try:
                line = read_line(raw, number)
            except BadLine as error:
                batch.bad.append((number, str(error)))
            else:
                if seen.setdefault(line.uuid, line.content) != line.content:
                    self._held = line
                    ended = False
                    break
                batch.lines.append(line)
            size += len(raw)
            if len(batch.lines) + len(batch.bad) >= BATCH_LINES or size >= BATCH_BYTES:
                ended = False
                break
        return None if ended and not batch.lines and not batch.bad else batch


@dataclass(slots=True)
class _Found:
    now: datetime
    known: dict[Any, KnownCampaigns]
    taken: set[int]


async def _look_up(
    connection: AsyncConnection, lines: Sequence[Line], now: datetime | None
) -> _Found:
    binds: dict[str, Any] = {
        "now": now,
        "uuids": [line.uuid for line in lines],
        "ids": [line.id for line in lines if line.id is not None],
    }
    row = (await connection.execute(query("look_up_lines"), binds)).one()
    found = _Found(row.now, {}, set(row.taken))
    if row.known:
        there = set(row.known)
        asked = [line for line in lines if line.uuid in there]
        binds = {
            "uuids": [line.uuid for line in asked],
            "payloads": [payload_text(line.payload) for line in asked],
        }
        for each in await connection.execute(query("load_known_campaigns"), binds):
            found.known[each.uuid] = _known(each)
    return found


def _known(row: Any) -> KnownCampaigns:
    return KnownCampaigns(
        id=row.known_id,
        uuid=row.uuid,
        name=row.name,
        type=CampaignType(row.type),
        status=Status(row.status),
        timezone=row.campaign_timezone,
        target=row.target,
        same_payload=row.same_payload,
        body=row.body,
        schedule=None if row.revision is None else schedule_from(row),
    )


async def _number(
    connection: AsyncConnection, new: list[PlannedCampaign], taken: set[int]
) -> list[Numbered]:
    """Give each new campaign an id, its line's own if that is free, and its schedule a revision."""
    wanted: list[int | None] = []
    for each in new:
        given = each.line.id
        wanted.append(None if given is None or given in taken else given)
        if given is not None:
            taken.add(given)
    highest = max((given for given in wanted if given is not None), default=None)
    if highest is not None:
        await connection.execute(query("reserve_ids"), {"highest": highest})
    binds = {
        "ids": sum(given is None for given in wanted),
        "revisions": sum(each.saved is not None for each in new),
    }
    row = (await connection.execute(query("draw_ids"), binds)).one()
    ids, revisions = iter(row.ids), iter(row.revisions)
    return [
        Numbered(
            each,
            next(ids) if given is None else given,
            None if each.saved is None else next(revisions),
        )
        for each, given in zip(new, wanted, strict=True)
    ]
