"""Searches campaigns, and runs of all campaigns: lists with filters and counts.

A list is ordered by an index, and its filters are read along that index. A search for text, or for
a rare value, reads each campaign once. A search for the runs of matching campaigns is bounded by
`SCAN_RUNS`, because there may be millions of runs.
"""

from __future__ import annotations

import re
from datetime import datetime
from string import ascii_lowercase, ascii_uppercase
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.listing import CampaignFilter, Counted, Facets, RunFilter, RunsFound
from daemon.domain.read_models import CampaignSummary, RunDetail, RunKey, UpcomingEvent, UpcomingKey
from storage.campaign_reads import (
    OLDEST_CLAIM,
    count_rows,
    next_run_expression,
    of_campaign,
    run_detail_from,
    run_status_condition,
    summary_columns,
    summary_from,
    upcoming_columns,
    upcoming_from,
)
from storage.engine import Database
from storage.tables import campaigns, runs, schedule_definitions, timers

SCAN_RUNS = 10_000
"""Maximum runs that one page reads while it looks for those of matching campaigns."""
_BIGINT = 2**63 - 1
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
_is_id = re.compile(r"[0-9]{1,19}").fullmatch
_is_uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_is_hex = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F-]{0,27})?").fullmatch
_definition, _timer = schedule_definitions.alias("d"), timers.alias("t")
_zone = sa.func.coalesce(_definition.c.timezone, campaigns.c.timezone)
_next_run = next_run_expression(_definition, _timer)
_KEY = (runs.c.claimed_at, runs.c.campaign_id, runs.c.scheduled_for)


class CampaignSearch:
    """Searches of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def campaigns(
        self, wanted: CampaignFilter, *, limit: int, before: int | None = None
    ) -> list[CampaignSummary]:
        """Return campaigns with an id below ``before``, newest first, without payloads."""
        page = _campaigns(wanted, campaigns.c.id).order_by(campaigns.c.id.desc()).limit(limit)
        if before is not None:
            page = page.where(campaigns.c.id < before)
        # The other tables are read for the campaigns of the page only.
        ids = page.subquery()
        statement = (
            sa.select(*summary_columns(_definition, _timer))
            .join(ids, ids.c.id == campaigns.c.id)
            .outerjoin(_definition, _definition.c.campaign_id == campaigns.c.id)
            .outerjoin(_timer, _timer.c.campaign_id == campaigns.c.id)
            .order_by(campaigns.c.id.desc())
        )
        return [summary_from(row) for row in await self._database.rows(statement)]

    async def count_campaigns(self, wanted: CampaignFilter) -> Counted:
        """Count the campaigns of a list."""
        return await count_rows(self._database, _campaigns(wanted, sa.literal(1)))

    async def facets(self, wanted: CampaignFilter) -> Facets:
        """Count the campaigns of a list by the values of its fields; reads all of them."""
        columns = {
            "status": campaigns.c.status,
            "type": campaigns.c.type,
            "target": campaigns.c.target,
            "timezone": _zone,
        }
        found = _campaigns(
            wanted, *(column.label(name) for name, column in columns.items()), by_zone=True
        ).subquery()
        grouped = sa.select(*(found.c[name] for name in columns), sa.func.count().label("number"))
        grouped = grouped.group_by(
            sa.func.grouping_sets(*(sa.tuple_(found.c[name]) for name in columns))
        )
        counts: dict[str, dict[str, int]] = {name: {} for name in columns}
        for row in await self._database.rows(grouped):
            for name in columns:
                value = getattr(row, name)
                if value is not None:
                    counts[name][value] = row.number
        ordered = {
            name: dict(sorted(values.items(), key=lambda item: (-item[1], item[0])))
            for name, values in counts.items()
        }
        return Facets(**ordered)

    async def upcoming(
        self, wanted: CampaignFilter, *, limit: int, after: UpcomingKey | None = None
    ) -> list[UpcomingEvent]:
        """Return the armed event of each matching campaign that is not paused, soonest first."""
        key = (timers.c.fire_at, timers.c.campaign_id)
        statement = _upcoming(wanted, *upcoming_columns()).order_by(*key).limit(limit)
        if after is not None:
            bound = sa.tuple_(sa.literal(after[0], key[0].type), after[1])
            statement = statement.where(timers.c.fire_at >= after[0], sa.tuple_(*key) > bound)
        return [upcoming_from(row) for row in await self._database.rows(statement)]

    async def count_upcoming(self, wanted: CampaignFilter) -> Counted:
        """Count the events of a list."""
        return await count_rows(self._database, _upcoming(wanted, sa.literal(1)))

    async def runs(
        self, wanted: RunFilter, *, limit: int, before: RunKey | None = None
    ) -> RunsFound:
        """Return runs of all campaigns, newest first by claim.

        A page that looks for the runs of matching campaigns reads at most `SCAN_RUNS` runs. It may
        have fewer than ``limit`` runs, or none, although another page follows.
        """
        if (own := await self._run_named(wanted)) is not None:
            return RunsFound([own], None)
        since = await self._since(wanted)
        scanned = _scanned_runs(wanted, since, before)
        rows = await self._database.rows(_runs_of_matching(wanted, scanned).limit(limit + 1))
        found = [run_detail_from(row) for row in rows]
        if len(found) > limit:
            return RunsFound(found[:limit], found[limit - 1].key)
        end = None
        if _asks_campaigns(wanted):
            last = scanned.with_only_columns(*_KEY).offset(SCAN_RUNS - 1).limit(1)
            for row in await self._database.rows(last):
                end = (row.claimed_at, row.campaign_id, row.scheduled_for)
        return RunsFound(found, end)

    async def count_runs(self, wanted: RunFilter) -> Counted:
        """Count the runs of a list; with a filter of campaigns, those of the newest runs."""
        if await self._run_named(wanted) is not None:
            return Counted(1)
        scanned = _scanned_runs(wanted, await self._since(wanted), None)
        if not _asks_campaigns(wanted):
            return await count_rows(
                self._database, scanned.with_only_columns(runs.c.campaign_id).order_by(None)
            )
        newest = scanned.with_only_columns(*_KEY).limit(SCAN_RUNS).subquery()
        (row,) = await self._database.rows(
            sa.select(
                sa.func.count().filter(_campaign_condition(wanted)).label("number"),
                sa.func.count().label("read"),
            ).select_from(newest.join(campaigns, campaigns.c.id == newest.c.campaign_id))
        )
        return Counted(row.number, row.read == SCAN_RUNS)

    async def _run_named(self, wanted: RunFilter) -> RunDetail | None:
        """Return the run whose id is the text of a search."""
        if wanted.q is None or _is_uuid(wanted.q) is None:
            return None
        statement = sa.select(runs, *of_campaign()).join(
            campaigns, campaigns.c.id == runs.c.campaign_id
        )
        for row in await self._database.rows(statement.where(runs.c.id == UUID(wanted.q))):
            return run_detail_from(row)
        return None

    async def _since(self, wanted: RunFilter) -> datetime | None:
        """Return the instant at or after which every run in flight was claimed."""
        if wanted.status is not RunStatus.EXECUTING:
            return None
        # A statement of its own, so that the next one is planned for the actual instant.
        (oldest,) = await self._database.rows(OLDEST_CLAIM)
        since: datetime | None = oldest.since
        return since


def text_condition(q: str) -> sa.ColumnElement[bool]:
    """Return the condition that a campaign's name, id or uuid is what a person typed."""
    # The rules of C are ten times as fast, and every server has them; they fold A to Z only.
    name = sa.func.lower(sa.collate(campaigns.c.name, "C"))
    spellings = {_lower_ascii(each) for each in (q, q.lower(), q.upper())}
    named = sa.or_(*(name.contains(each, autoescape=True) for each in sorted(spellings)))
    if _is_id(q) and int(q) <= _BIGINT:
        return sa.or_(named, campaigns.c.id == int(q))
    if _is_uuid_beginning(q):
        digits = q.replace("-", "").lower()
        low, high = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        return sa.or_(named, campaigns.c.uuid.between(low, high))
    return named


def campaign_conditions(wanted: CampaignFilter) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a filter on the columns of ``campaigns``."""
    equal = {
        campaigns.c.status: wanted.status,
        campaigns.c.type: wanted.type,
        campaigns.c.target: wanted.target,
    }
    conditions = [column == value for column, value in equal.items() if value is not None]
    if wanted.q is not None:
        conditions.append(text_condition(wanted.q))
    return conditions


def _campaigns(wanted: CampaignFilter, *columns: Any, by_zone: bool = False) -> sa.Select[Any]:
    by_next_run = wanted.since is not None or wanted.before is not None
    source: sa.FromClause = campaigns
    if by_zone or by_next_run or wanted.timezone is not None:
        source = source.outerjoin(_definition, _definition.c.campaign_id == campaigns.c.id)
    if by_next_run:
        source = source.join(_timer, _timer.c.campaign_id == campaigns.c.id)
    statement = sa.select(*columns).select_from(source)
    statement = statement.where(*campaign_conditions(wanted))
    if wanted.timezone is not None:
        statement = statement.where(_zone == wanted.timezone)
    if by_next_run:
        statement = statement.where(campaigns.c.status != Status.PAUSED, _next_run.is_not(None))
    if wanted.since is not None:
        statement = statement.where(_timer.c.fire_at >= wanted.since)
    if wanted.before is not None:
        statement = statement.where(_timer.c.fire_at < wanted.before)
    return statement


def _upcoming(wanted: CampaignFilter, *columns: Any) -> sa.Select[Any]:
    statement = (
        sa.select(*columns)
        .select_from(timers)
        .join(campaigns, campaigns.c.id == timers.c.campaign_id)
        .join(schedule_definitions, schedule_definitions.c.campaign_id == timers.c.campaign_id)
        .where(campaigns.c.status != Status.PAUSED, *campaign_conditions(wanted))
    )
    if wanted.since is not None:
        statement = statement.where(timers.c.fire_at >= wanted.since)
    if wanted.before is not None:
        statement = statement.where(timers.c.fire_at < wanted.before)
    return statement


def _asks_campaigns(wanted: RunFilter) -> bool:
    return wanted.q is not None or wanted.target is not None


def _campaign_condition(wanted: RunFilter) -> sa.ColumnElement[bool]:
    of_campaign = CampaignFilter(q=wanted.q, target=wanted.target)
    return sa.and_(sa.true(), *campaign_conditions(of_campaign))


def _scanned_runs(
    wanted: RunFilter, since: datetime | None, before: RunKey | None
) -> sa.Select[Any]:
    """Return the select of the runs that a filter's own conditions leave, newest first."""
    statement = sa.select(runs).order_by(*(column.desc() for column in _KEY))
    if wanted.status is not None:
        statement = statement.where(run_status_condition(wanted.status, since=since))
    if wanted.campaign_id is not None:
        statement = statement.where(runs.c.campaign_id == wanted.campaign_id)
    if wanted.since is not None:
        statement = statement.where(runs.c.claimed_at >= wanted.since)
    if wanted.before is not None:
        statement = statement.where(runs.c.claimed_at < wanted.before)
    if before is not None:
        bound = [sa.literal(value, column.type) for value, column in zip(before, _KEY, strict=True)]
        # The first condition is implied; it is the one that the index understands.
        statement = statement.where(
            runs.c.claimed_at <= bound[0], sa.tuple_(*_KEY) < sa.tuple_(*bound)
        )
    return statement


def _runs_of_matching(wanted: RunFilter, scanned: sa.Select[Any]) -> sa.Select[Any]:
    if not _asks_campaigns(wanted):
        # Joined outside, so that the join reads the campaigns of the page only.
        return scanned.add_columns(*of_campaign()).join(
            campaigns, campaigns.c.id == runs.c.campaign_id
        )
    newest = scanned.limit(SCAN_RUNS).subquery()
    return (
        sa.select(newest, *of_campaign())
        .join(campaigns, campaigns.c.id == newest.c.campaign_id)
        .where(_campaign_condition(wanted))
        .order_by(*(newest.c[column.name].desc() for column in _KEY))
    )


def _is_uuid_beginning(q: str) -> bool:
    return _is_hex(q) is not None and len(q.replace("-", "")) <= 32


def _lower_ascii(text: str) -> str:
    return text.translate(_LOWER)
