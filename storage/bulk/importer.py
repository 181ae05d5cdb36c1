"""Imports campaigns from lines, in batches of one COPY transaction each.

An import reports each bad line and loads the others. Loading the same file again changes nothing.
A uuid is never inserted twice, and an id in use is never assigned again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.campaign.state_machine import Status
from daemon.domain.errors import CampaigndError
from daemon.domain.requests.send_window import names_calendars
from daemon.domain.schedule.schedule import CampaignType
from storage.bulk.copy_writer import NumberedCampaign, write_new_campaigns
from storage.bulk.line_parser import BadLine, Line, parse_line, payload_text
from storage.bulk.planner import (
    KnownCampaign,
    PlannedCampaign,
    ScheduleDefaults,
    changed_fields,
    fill_in_from_campaign,
    plan_new,
    plan_update,
)
from storage.calendar_rows import load_calendars
from storage.campaigns import Campaigns
from storage.engine import Connections
from storage.errors import StorageError, first_line
from storage.queries import query
from storage.schedule_rows import schedule_from

BATCH_LINES = 2000
BATCH_BYTES = 8 * 1024 * 1024
_MAX_TRIES = 3
_LINE_ERRORS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)
"""Errors that a line causes; all others are bugs here, or failures of the server."""
_LOCK = 0x63616D70
"""Advisory lock of the import that writes, so that two imports of one file do not conflict."""


@dataclass(slots=True)
class ImportCounts:
    """Number of lines by result, so far."""

    loaded: int = 0
    unchanged: int = 0
    updated: int = 0
    bad: int = 0


class Importer:
    """One import, with its counts.

    Args:
        database: the database of the campaigns.
        actor: the caller's name, for ``campaign_events``.
        defaults: the settings that lines are read with.
        update: whether a line replaces the content of an existing campaign.
        report: called with number and reason of each bad line.
        now: the instant of decisions; the database clock by default.
    """

    def __init__(
        self,
        database: Connections,
        *,
        actor: str,
        defaults: ScheduleDefaults,
        report: Callable[[int, str], None],
        update: bool = False,
        now: datetime | None = None,
    ) -> None:
        self._database = database
        self._actor = actor
        self._defaults = defaults
        self._report = report
        self._update = update
        self._now = now
        self.counts = ImportCounts()

    async def load(
        self, lines: Iterator[bytes], progress: Callable[[ImportCounts], None] | None = None
    ) -> ImportCounts:
        """Load every line; empty lines are skipped.

        The next batch is read while the server writes one.
        """
        reader = _BatchReader(lines)
        batch = await asyncio.to_thread(reader.next_batch)
        while batch is not None:
            next_batch_task = asyncio.create_task(asyncio.to_thread(reader.next_batch))
            try:
                bad = batch.bad
                bad.extend(await self._load_batch(batch.lines))
            except BaseException:
                with suppress(BaseException):
                    await next_batch_task
                raise
            for number, reason in sorted(bad):
                self._report(number, reason)
            self.counts.bad += len(bad)
            if progress is not None:
                progress(self.counts)
            batch = await next_batch_task
        return self.counts

    async def _load_batch(self, lines: list[Line]) -> list[tuple[int, str]]:
        """Load lines in one transaction; on an error of a line, load each half, and so on."""
        if not lines:
            return []
        fault: BaseException | None = None
        for _ in range(_MAX_TRIES):
            try:
                return await self._load_in_transaction(lines)
            except psycopg.errors.UniqueViolation as error:
                # Another session inserted an id or a uuid meanwhile; the next try reads it.
                fault = error
            except (psycopg.Error, sa.exc.DBAPIError) as error:
                fault = error.orig if isinstance(error, sa.exc.DBAPIError) else error
                if not isinstance(fault, _LINE_ERRORS):
                    raise
                break
        if len(lines) == 1:
            return [(lines[0].number, f"cannot be stored: {first_line(fault or Exception())}")]
        middle = len(lines) // 2
        return [*await self._load_batch(lines[:middle]), *await self._load_batch(lines[middle:])]

    async def _load_in_transaction(self, lines: list[Line]) -> list[tuple[int, str]]:
        bad: list[tuple[int, str]] = []
        unchanged = 0
        changed: list[tuple[Line, KnownCampaign, list[str]]] = []
        new: list[PlannedCampaign] = []
        planned: set[UUID] = set()
        async with self._database.transaction() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            existing = await _find_existing(connection, lines, self._now)
            defaults = self._defaults
            if any(names_calendars(line.schedule) for line in lines):
                calendars = await load_calendars(connection, lock=True)
                defaults = replace(defaults, calendars=calendars)
            for line in lines:
                known = existing.known.get(line.uuid)
                try:
                    if line.uuid in planned:
                        unchanged += 1
                    elif known is None:
                        new.append(plan_new(line, existing.now, defaults))
                        planned.add(line.uuid)
                    elif names := changed_fields(line, known, existing.now, defaults):
                        changed.append((line, known, names))
                    else:
                        unchanged += 1
                except BadLine as error:
                    bad.append((line.number, str(error)))
            if new:
                numbered = await _assign_ids(connection, new, existing.used_ids)
                await write_new_campaigns(connection, numbered, self._actor, existing.now)
        self.counts.loaded += len(new)
        self.counts.unchanged += unchanged
        for line, known, names in changed:
            try:
                await self._apply_updates(line, known, names)
            except (BadLine, CampaigndError) as error:
                if isinstance(error, StorageError):
                    raise
                bad.append((line.number, str(error)))
            else:
                self.counts.updated += 1
        return bad

    async def _apply_updates(self, line: Line, known: KnownCampaign, names: list[str]) -> None:
        """Give an existing campaign the content of a line, in a transaction of its own."""
        if not self._update:
            raise BadLine(
                f"campaign {known.id} has the uuid {known.uuid} and differs in {', '.join(names)};"
                " --update applies the line",
            )
        line = fill_in_from_campaign(line, known)
        store, wanted = Campaigns(self._database), names_calendars(line.schedule)
        async with store.edit(known.id, self._now, with_calendars=wanted) as edit:
            defaults = replace(self._defaults, calendars=edit.snapshot.calendars)
            change = plan_update(line, edit.snapshot, known, names, defaults)
            if change is not None:
                await edit.apply(change, self._actor)
            plain = {"name", "timezone", "target", "payload"}.intersection(names)
            if plain:
                await edit.amend_fields({name: getattr(line, name) for name in plain}, self._actor)


@dataclass(slots=True)
class _LineBatch:
    lines: list[Line]
    bad: list[tuple[int, str]]


class _BatchReader:
    """Groups lines into batches; a batch never has one uuid with two contents."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = enumerate(lines, start=1)
        self._next_line: Line | None = None

    def next_batch(self) -> _LineBatch | None:
        batch = _LineBatch([], [])
        seen: dict[Any, int] = {}
        size = 0
        if self._next_line is not None:
            batch.lines.append(self._next_line)
            seen[self._next_line.uuid] = self._next_line.content
            self._next_line = None
        ended = True
        for number, raw in self._lines:
            if raw.isspace():
                continue
            try:
                line = parse_line(raw, number)
            except BadLine as error:
                batch.bad.append((number, str(error)))
            else:
                if seen.setdefault(line.uuid, line.content) != line.content:
                    self._next_line = line
                    ended = False
                    break
                batch.lines.append(line)
            size += len(raw)
            if len(batch.lines) + len(batch.bad) >= BATCH_LINES or size >= BATCH_BYTES:
                ended = False
                break
        return None if ended and not batch.lines and not batch.bad else batch


@dataclass(slots=True)
class _ExistingCampaigns:
    now: datetime
    known: dict[Any, KnownCampaign]
    used_ids: set[int]


async def _find_existing(
    connection: AsyncConnection, lines: Sequence[Line], now: datetime | None
) -> _ExistingCampaigns:
    binds: dict[str, Any] = {
        "now": now,
        "uuids": [line.uuid for line in lines],
        "ids": [line.id for line in lines if line.id is not None],
    }
    row = (await connection.execute(query("find_import_lines"), binds)).one()
    existing = _ExistingCampaigns(row.now, {}, set(row.taken))
    if row.known:
        there = set(row.known)
        asked = [line for line in lines if line.uuid in there]
        binds = {
            "uuids": [line.uuid for line in asked],
            "payloads": [payload_text(line.payload) for line in asked],
        }
        for item in await connection.execute(query("load_known_campaigns"), binds):
            existing.known[item.uuid] = _known_campaign_from(item)
    return existing


def _known_campaign_from(row: Any) -> KnownCampaign:
    return KnownCampaign(
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


async def _assign_ids(
    connection: AsyncConnection, new: list[PlannedCampaign], used_ids: set[int]
) -> list[NumberedCampaign]:
    """Give each new campaign an id, the line's if it is free, and its schedule a revision."""
    wanted: list[int | None] = []
    for item in new:
        given = item.line.id
        wanted.append(None if given is None or given in used_ids else given)
        if given is not None:
            used_ids.add(given)
    highest = max((given for given in wanted if given is not None), default=None)
    if highest is not None:
        await connection.execute(query("reserve_ids"), {"highest": highest})
    binds = {
        "ids": sum(given is None for given in wanted),
        "revisions": sum(item.saved is not None for item in new),
    }
    row = (await connection.execute(query("draw_ids"), binds)).one()
    ids, revisions = iter(row.ids), iter(row.revisions)
    return [
        NumberedCampaign(
            item,
            next(ids) if given is None else given,
            None if item.saved is None else next(revisions),
        )
        for item, given in zip(new, wanted, strict=True)
    ]
