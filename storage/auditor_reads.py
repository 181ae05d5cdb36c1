"""Reads what the auditor judges: each look in one snapshot, at most 5 s a statement, without locks.

A row is read by an index of its table; docs/audit.md has the cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.domain.auditor.chain import looks_from
from daemon.domain.auditor.evidence import AuditedCampaign, AuditedEvent, AuditedRun, Look
from daemon.domain.auditor.finding import AuditFinding, FindingKind
from daemon.domain.schedule.schedule import EventKind, TimedEvent
from daemon.domain.schedule.zone_data import tzdata_version
from daemon.domain.sharding import SHARDS
from storage.engine import Database, rows_of
from storage.schedule_rows import schedule_from
from storage.tables import campaign_events, campaigns, schedule_definitions, timers

CAMPAIGNS_AT_ONCE = 100
"""Maximum campaigns of one look: few, because looks share the event loop with firing."""
ROWS_AT_ONCE = 2000
"""Runs of several campaigns that are read together, about."""
EVENTS_OF_CAMPAIGN = 200
"""Newest events of a campaign that a first look reads, in addition to four for each run."""
ALL_EVENTS = 10_000_000
STUCK_AT_ONCE = 1000
DUE_AFTER = timedelta(seconds=60)
"""How long an event or a run may be due before it counts as stuck."""

_READ_ONLY = sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
_TIMEOUT = sa.text("SET LOCAL statement_timeout = '5s'")
_NOW = sa.text("SELECT clock_timestamp() AS now")
_NODES = sa.text("SELECT id FROM nodes")
_COUNT = sa.text(
    "SELECT count(*) AS count FROM campaigns"
    " WHERE (id % CAST(:modulus AS integer)) = ANY(CAST(:shards AS integer[]))"
)
_RUN = (
    "r.campaign_id, r.scheduled_for, r.id, r.cause, r.status, r.attempt, r.node, r.lease_until,"
    " r.status = 'queued' AND r.next_attempt_at IS NULL AS waits, r.finished_at IS NULL AS is_open"
)
_RUNS = sa.text(f"""
    SELECT {_RUN}
    FROM unnest(CAST(:ids AS bigint[]), CAST(:sinces AS timestamptz[])) AS i (id, since)
    JOIN runs r ON r.campaign_id = i.id AND r.scheduled_for > i.since
    ORDER BY r.campaign_id, r.scheduled_for
""")
# Open runs may be older than the look. Each part has an index of its own.
_OPEN_RUNS = sa.text(f"""
    SELECT {_RUN} FROM runs r
    WHERE r.rare_status IN ('queued', 'retrying', 'held')
      AND r.campaign_id = ANY(CAST(:ids AS bigint[]))
    UNION
    SELECT {_RUN} FROM runs r
    WHERE r.lease_until IS NOT NULL AND r.campaign_id = ANY(CAST(:ids AS bigint[]))
    UNION
    SELECT {_RUN} FROM runs r
    WHERE r.status = 'executing' AND r.campaign_id = ANY(CAST(:ids AS bigint[]))
      AND r.claimed_at >= coalesce((SELECT min(n.oldest_claim_at) FROM nodes n), '-infinity')
""")
_EVENTS = sa.text("""
    SELECT e.*
    FROM unnest(CAST(:ids AS bigint[]), CAST(:sinces AS timestamptz[]), CAST(:limits AS integer[]))
         AS i (id, since, max_rows)
    CROSS JOIN LATERAL (
        SELECT n.campaign_id, n.id, n.at, n.event, n.cause, n.actor, n.run_id, n.scheduled_for,
               n.details
        FROM campaign_events n WHERE n.campaign_id = i.id ORDER BY n.id DESC LIMIT i.max_rows
    ) e
    WHERE e.at > i.since
      AND (e.event IN ('fire', 'attempt', 'overtaken', 'run_retrying', 'run_held', 'run_queued')
           OR (e.event = 'passed' AND e.details IS NOT NULL))
    ORDER BY e.campaign_id, e.id
""")
_RECENT = sa.text("""
    WITH recent AS (
        SELECT DISTINCT r.campaign_id FROM runs r
        WHERE r.claimed_at >= CAST(:since AS timestamptz)
          AND (r.campaign_id % CAST(:modulus AS integer)) = ANY(CAST(:shards AS integer[]))
    ), counted AS (
        SELECT c.campaign_id, c.total, (c.total - 1) / CAST(:max_rows AS bigint) + 1 AS each
        FROM (SELECT campaign_id, count(*) OVER () AS total FROM recent) c
    )
    SELECT campaign_id, total FROM counted
    WHERE (campaign_id / CAST(:modulus AS integer)) % each = CAST(:round AS bigint) % each
    ORDER BY campaign_id
""")
_FROZEN = sa.text(
    "SELECT scope FROM brakes"
    " WHERE frozen_at IS NOT NULL OR changed_at > CAST(:since AS timestamptz)"
)
_OF_SHARDS = "(t.campaign_id % CAST(:modulus AS integer)) = ANY(CAST(:shards AS integer[]))"
_STUCK_TIMERS = sa.text(f"""
    SELECT t.campaign_id, t.fire_at, coalesce(t.scheduled_for, t.fire_at) AS scheduled_for
    FROM armed_timers t
    WHERE t.fire_at < CAST(:before AS timestamptz) AND {_OF_SHARDS}
      AND t.target <> ALL(CAST(:excused AS text[]))
    ORDER BY t.fire_at LIMIT CAST(:max_rows AS integer)
""")
_STUCK_RUNS = sa.text(f"""
    SELECT t.campaign_id, t.scheduled_for, t.id, t.status, t.next_attempt_at, t.lease_until
    FROM runs t
    JOIN campaigns c ON c.id = t.campaign_id
    WHERE t.next_attempt_at < CAST(:before AS timestamptz) AND t.worker_queue IS NULL
      AND c.status = 'executing' AND {_OF_SHARDS} AND c.target <> ALL(CAST(:excused AS text[]))
    UNION ALL
    SELECT t.campaign_id, t.scheduled_for, t.id, t.status, t.next_attempt_at, t.lease_until
    FROM runs t
    WHERE t.lease_until < CAST(:before AS timestamptz) AND {_OF_SHARDS}
    LIMIT CAST(:max_rows AS integer)
""")
_HELD = sa.text(f"""
    SELECT t.campaign_id, t.scheduled_for, t.id, t.claimed_at FROM runs t
    WHERE t.rare_status = 'held' AND t.claimed_at < CAST(:before AS timestamptz) AND {_OF_SHARDS}
    ORDER BY t.claimed_at LIMIT CAST(:max_rows AS integer)
""")
_OLDEST_EVENT = (
    sa.select(campaign_events.c.at)
    .where(campaign_events.c.campaign_id == campaigns.c.id)
    .order_by(campaign_events.c.id)
    .limit(1)
    .scalar_subquery()
)
_CAMPAIGN_COLUMNS = (
    *("id", "name", "status", "open_runs", "queued_runs", "held_runs", "more_to_come", "has_due"),
    "has_completed",
)
_HEADS = (
    sa.select(
        schedule_definitions,
        *(campaigns.c[name].label(f"c_{name}") for name in _CAMPAIGN_COLUMNS),
        *(timers.c[name].label(f"t_{name}") for name in ("fire_at", "local", "kind")),
        sa.func.coalesce(timers.c.scheduled_for, timers.c.fire_at).label("t_at"),
        _OLDEST_EVENT.label("oldest_event_at"),
    )
    .select_from(campaigns)
    .outerjoin(schedule_definitions, schedule_definitions.c.campaign_id == campaigns.c.id)
    .outerjoin(timers, timers.c.campaign_id == campaigns.c.id)
    .order_by(campaigns.c.id)
)
_EVERY_SHARD = tuple(range(SHARDS))


class Recent(NamedTuple):
    """Campaigns with newly claimed runs, and the share of all such campaigns."""

    campaign_ids: list[int]
    share: float


class AuditorReads:
    """The reads of the auditor.

    Args:
        database: a pool of its own, so that firing waits for no look.
        now: the present, for tests; by default the database's clock.
    """

    def __init__(self, database: Database, now: datetime | None = None) -> None:
        self._database = database
        self.now = now

    async def looks(
        self,
        since: datetime | None,
        window: timedelta,
        *,
        campaign_ids: Sequence[int] | None = None,
        after: int = 0,
        shards: Sequence[int] = _EVERY_SHARD,
        earlier: Mapping[int, datetime] | None = None,
        thorough: bool = False,
    ) -> AsyncGenerator[Look]:
        """Yield campaigns with their evidence, in order of id, all of one snapshot.

        Args:
            since: the begin of the looks; None: ``window`` before now.
            window: length of the looks.
            campaign_ids: the campaigns; None: the next 100 after ``after``, of the shards.
            after: the id after which the campaigns begin.
            shards: the shards of those campaigns.
            earlier: begins of some campaigns, where they are before ``since``.
            thorough: read every event of the campaigns.
        """
        statement = _HEADS
        if campaign_ids is not None:
            statement = statement.where(campaigns.c.id.in_(campaign_ids))
        else:
            statement = statement.where(campaigns.c.id > after).limit(CAMPAIGNS_AT_ONCE)
            if len(shards) < SHARDS:
                statement = statement.where((campaigns.c.id % SHARDS).in_(shards))
        async with self._snapshot() as (connection, now):
            begin = since or now - window
            nodes = frozenset(row.id for row in await rows_of(connection, _NODES))
            looks = []
            for row in await rows_of(connection, statement):
                campaign = _campaign_from(row, now)
                wanted = min(begin, (earlier or {}).get(campaign.id, begin))
                looks.append(Look(campaign, looks_from(campaign, wanted), nodes))
            for part in _parts(looks):
                for look in await _with_evidence(connection, part, thorough):
                    yield look

    async def recent(
        self, claimed_within: timedelta, shards: Sequence[int], *, turn: int, limit: int
    ) -> Recent:
        """Return campaigns with runs claimed lately; of more than ``limit`` each turn's share."""
        async with self._snapshot() as (connection, now):
            rows = await rows_of(
                connection,
                _RECENT,
                since=now - claimed_within,
                modulus=SHARDS,
                shards=list(shards),
                max_rows=limit,
                round=turn,
            )
        total = rows[0].total if rows else 0
        return Recent([row.campaign_id for row in rows], len(rows) / total if total else 1.0)

    async def count_campaigns(self, shards: Sequence[int] = _EVERY_SHARD) -> int:
        """Return the number of campaigns of some shards."""
        async with self._snapshot() as (connection, _):
            (row,) = await rows_of(connection, _COUNT, modulus=SHARDS, shards=list(shards))
        count: int = row.count
        return count

    async def stuck(
        self,
        held_after: timedelta,
        *,
        excused: Collection[str] = (),
        shards: Sequence[int] = _EVERY_SHARD,
    ) -> list[AuditFinding]:
        """Return events and runs that are due and that no node takes, and runs held for long.

        Args:
            held_after: how long a run may be held.
            excused: targets that take nothing at the moment.
            shards: of the campaigns.
        """
        async with self._snapshot() as (connection, now):
            scopes = {
                row.scope for row in await rows_of(connection, _FROZEN, since=now - DUE_AFTER)
            }
            stopped = {scope.removeprefix("target:") for scope in scopes}.union(excused)
            values: dict[str, Any] = {
                "before": now - DUE_AFTER,
                "modulus": SHARDS,
                "shards": list(shards),
                "max_rows": STUCK_AT_ONCE,
            }
            due: list[Any] = []
            late: list[Any] = []
            if "*" not in scopes:
                due = await rows_of(connection, _STUCK_TIMERS, **values, excused=list(stopped))
                late = await rows_of(connection, _STUCK_RUNS, **values, excused=list(stopped))
            held = await rows_of(connection, _HELD, **{**values, "before": now - held_after})
        return [
            *(
                AuditFinding(
                    FindingKind.STUCK_TIMER,
                    row.campaign_id,
                    row.scheduled_for,
                    None,
                    {"due_at": row.fire_at.isoformat()},
                )
                for row in due
            ),
            *(
                AuditFinding(
                    FindingKind.STUCK_RUN,
                    row.campaign_id,
                    row.scheduled_for,
                    row.id,
                    {
                        "status": row.status,
                        "due_at": (row.next_attempt_at or row.lease_until).isoformat(),
                    },
                )
                for row in late
            ),
            *(
                AuditFinding(
                    FindingKind.HELD,
                    row.campaign_id,
                    row.scheduled_for,
                    row.id,
                    {"claimed_at": row.claimed_at.isoformat()},
                )
                for row in held
            ),
        ]

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[tuple[AsyncConnection, datetime]]:
        """Yield a connection whose statements see one snapshot, and the present."""
        async with self._database.transaction() as connection:
            for statement in (_READ_ONLY, _TIMEOUT):
                await connection.execute(statement)
            (row,) = await rows_of(connection, _NOW)
            yield connection, self.now or row.now


def _campaign_from(row: Any, now: datetime) -> AuditedCampaign:
    has_schedule, has_timer = row.campaign_id is not None, row.t_fire_at is not None
    return AuditedCampaign(
        id=row.c_id,
        name=row.c_name,
        status=row.c_status,
        now=now,
        open_count=row.c_open_runs,
        queued_count=row.c_queued_runs,
        held_count=row.c_held_runs,
        more_to_come=row.c_more_to_come,
        has_due=row.c_has_due,
        has_completed=row.c_has_completed,
        schedule=schedule_from(row) if has_schedule else None,
        is_comparable=row.tzdata == tzdata_version(),
        is_gated=row.conditions is not None,
        saved_at=row.saved_at,
        armed_from=row.armed_from,
        oldest_event_at=row.oldest_event_at,
        timer=TimedEvent(EventKind(row.t_kind), row.t_at, row.t_local) if has_timer else None,
    )


def _parts(looks: Sequence[Look]) -> list[list[Look]]:
    """Split looks so that the runs of each part fit into memory."""
    parts: list[list[Look]] = [[]]
    held = 0
    for look in looks:
        rows = _expected_rows(look)
        if held + rows > ROWS_AT_ONCE and parts[-1]:
            parts.append([])
            held = 0
        parts[-1].append(look)
        held += rows
    return parts if parts[0] else []


def _expected_rows(look: Look) -> int:
    schedule = look.campaign.schedule
    seconds = (look.campaign.now - look.start).total_seconds()
    step = 86_400 if schedule is None or schedule.every_seconds is None else schedule.every_seconds
    return max(1, int(seconds / step))


async def _with_evidence(
    connection: AsyncConnection, looks: Sequence[Look], thorough: bool
) -> list[Look]:
    ids = [look.campaign.id for look in looks]
    sinces = [look.start for look in looks]
    runs: dict[int, list[Any]] = defaultdict(list)
    for row in await rows_of(connection, _RUNS, ids=ids, sinces=sinces):
        runs[row.campaign_id].append(row)
    # A campaign that counts no open run needs only its newest runs to be contradicted.
    busy = [look.campaign.id for look in looks if look.campaign.open_count]
    open_runs: dict[int, dict[datetime, Any]] = defaultdict(dict)
    for campaign_id, found in runs.items():
        open_runs[campaign_id] = {row.scheduled_for: row for row in found if row.is_open}
    for row in await rows_of(connection, _OPEN_RUNS, ids=busy) if busy else []:
        open_runs[row.campaign_id][row.scheduled_for] = row
    limits = [
        ALL_EVENTS if thorough else EVENTS_OF_CAMPAIGN + 4 * len(runs[campaign_id])
        for campaign_id in ids
    ]
    events: dict[int, list[AuditedEvent]] = defaultdict(list)
    for row in await rows_of(connection, _EVENTS, ids=ids, sinces=sinces, limits=limits):
        event = AuditedEvent(
            row.event, row.cause, row.actor, row.run_id, row.scheduled_for, row.details
        )
        events[row.campaign_id].append(event)
    return [
        look._replace(
            campaign=look.campaign._replace(
                runs=tuple(map(_run_from, runs[look.campaign.id])),
                open_runs=tuple(map(_run_from, open_runs[look.campaign.id].values())),
                events=tuple(events[look.campaign.id]),
            )
        )
        for look in looks
    ]


def _run_from(row: Any) -> AuditedRun:
    return AuditedRun(
        row.scheduled_for,
        row.id,
        row.cause,
        row.status,
        row.attempt,
        row.node,
        row.lease_until,
        row.waits,
    )
