"""Campaigns in a real database, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import sqlalchemy as sa

from daemon.campaign_service import CampaignService
from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.state_machine import OPEN_RUN, RunStatus, Status
from daemon.domain.run.attempt import (
    ArmedEvent,
    Attempt,
    PendingRun,
)
from daemon.domain.schedule.schedule import CampaignType
from daemon.domain.sharding import SHARDS
from daemon.runtime.clock import SystemClock
from daemon.runtime.node_identity import NodeIdentity
from daemon.timer.loader import FIRST_EVENT, FIRST_RUN
from storage.brakes import BrakeStore
from storage.campaigns import Campaigns
from storage.firing_database import FiringDatabase
from storage.held_runs import HeldRuns
from storage.nodes import Nodes
from storage.runs import RunStore
from storage.session import BY_HAND
from storage.tables import metadata
from storage.timers import Timers
from tests.support.clocks import NOON, days, hours
from tests.support.database_node import LONG, DatabaseNode

TICK = timedelta(microseconds=1)
ALL = list(range(SHARDS))
GRACE = timedelta(hours=1)
"""The default grace time of a schedule."""


def run_uuid(campaign: UUID, at: datetime) -> UUID:
    """Return the id of a run, computed by the standard library (docs/semantics.md#runs)."""
    return uuid5(campaign, at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def request_text(at: datetime) -> str:
    return at.isoformat()


async def store_continuous(db: TimedDatabase, every: int, length: timedelta, **extras: Any) -> int:
    """Store a segment campaign that runs every ``every`` seconds from an hour after noon."""
    db.control._continuous_interval = every
    start = NOON + hours(1)
    return await db.add_started(
        "segment_triggered",
        {
            "startdate": request_text(start),
            "enddate": request_text(start + length),
            "recurring_schedule": "continuously",
            **extras,
        },
    )


def events_named(events: list[Any], name: str) -> list[Any]:
    """Return the events of that name."""
    return [event for event in events if event.event == name]


class _CampaignsAtTestTime(Campaigns):
    """Campaigns whose edits are decided at the time of the test."""

    def __init__(self, database: FiringDatabase, db: TimedDatabase) -> None:
        super().__init__(database)
        self._db = db

    async def ended_pauses(self, limit: int, now: datetime | None = None) -> list[int]:
        return await super().ended_pauses(limit, now or self._db.now)

    @asynccontextmanager
    async def edit(
        self, ref: int | UUID, now: datetime | None = None, *, with_calendars: bool = False
    ) -> AsyncIterator[Any]:
        async with super().edit(ref, now or self._db.now, with_calendars=with_calendars) as edit:
            yield edit

    async def read_snapshot(self, ref: int | UUID, now: datetime | None = None) -> Any:
        return await super().read_snapshot(ref, now or self._db.now)


class TimedDatabase:
    """A database with a settable clock, and what tests do with it."""

    def __init__(self, database: FiringDatabase) -> None:
        self.database = database
        self.now = NOON
        self.store = _CampaignsAtTestTime(database, self)
        self.held = HeldRuns(database)
        self.brakes = BrakeStore(database)
        self.held.now = self.brakes.now = self.now
        self.control = CampaignService(self.store, held=self.held)
        self.timers = Timers(database)

    def set_time(self, now: datetime) -> None:
        self.now = self.held.now = self.brakes.now = now

    def advance(self, step: timedelta) -> datetime:
        self.set_time(self.now + step)
        return self.now

    async def register_node(self, name: str = "node", lease: float = LONG) -> DatabaseNode:
        """Return a registered node."""
        node = DatabaseNode(
            self,
            name,
            RunStore(self.database, NodeIdentity(SystemClock(), name)),
            Nodes(self.database),
        )
        await node.register(lease)
        return node

    async def add_draft(self, kind: str = "one_time", **fields: Any) -> int:
        draft = Campaign(
            id=0,
            uuid=uuid4(),
            type=CampaignType(kind),
            status=Status.DRAFT,
            **{"name": "a campaign", **fields},
        )
        return (await self.control.create(draft, "tester")).id

    async def add_scheduled(self, body: dict[str, Any], **fields: Any) -> int:
        """Store a campaign with a `schedule` body, armed."""
        campaign_id = await self.add_draft(**fields)
        await self.control.save_schedule(campaign_id, body, "tester")
        return campaign_id

    async def add_started(self, kind: str, body: dict[str, Any], **fields: Any) -> int:
        """Store a campaign with an `update_schedule` body, and start it."""
        campaign_id = await self.add_draft(kind, **fields)
        await self.control.update_schedule(campaign_id, body, "tester")
        await self.control.start(campaign_id, "tester")
        return campaign_id

    async def rows(self, statement: str, **binds: Any) -> list[Any]:
        async with self.database.transaction() as connection:
            result = await connection.execute(sa.text(statement), binds)
            return list(result.all()) if result.returns_rows else []

    async def read_campaign(self, campaign_id: int) -> Campaign:
        return await self.store.get(campaign_id)

    async def status_of(self, campaign_id: int) -> str:
        return (await self.read_campaign(campaign_id)).status.value

    async def runs_of(self, campaign_id: int) -> list[Any]:
        return await self.rows(
            "SELECT * FROM runs WHERE campaign_id = :id ORDER BY scheduled_for", id=campaign_id
        )

    async def run_statuses_of(self, campaign_id: int) -> list[str]:
        return [run.status for run in await self.runs_of(campaign_id)]

    async def events_of(self, campaign_id: int) -> list[Any]:
        return await self.rows(
            "SELECT * FROM campaign_events WHERE campaign_id = :id ORDER BY id", id=campaign_id
        )

    async def timer_of(self, campaign_id: int) -> Any:
        found = await self.rows("SELECT * FROM timers WHERE campaign_id = :id", id=campaign_id)
        return found[0] if found else None

    async def definition_of(self, campaign_id: int) -> Any:
        found = await self.rows(
            "SELECT * FROM schedule_definitions WHERE campaign_id = :id", id=campaign_id
        )
        return found[0] if found else None

    async def due_events(self, *campaign_ids: int) -> list[ArmedEvent]:
        """Return the events that a timer has loaded and that are due."""
        if campaign_ids:
            return await self.timers.events_of(campaign_ids, self.now + TICK)
        found = await self.timers.overdue_events(FIRST_EVENT, self.now + TICK, 10_000, [])
        return await self.timers.events_of([item.campaign_id for item in found], self.now + TICK)

    async def armed_event_of(self, campaign_id: int) -> ArmedEvent:
        """Return the campaign's next event, however far ahead."""
        (found,) = await self.timers.events_of([campaign_id], self.now + days(10_000))
        return found

    async def due_pending_runs(self, *campaign_ids: int) -> list[PendingRun]:
        found = await self.pending_runs_until(self.now + TICK)
        return [one for one in found if not campaign_ids or one.campaign_id in campaign_ids]

    async def pending_runs_until(self, until: datetime) -> list[PendingRun]:
        """Return the runs whose next attempt is due before an instant."""
        return await self.timers.pending_runs(FIRST_RUN, until, self.now, ALL, 10_000, [])

    async def executing_attempts(self, campaign_id: int) -> list[Attempt]:
        """Return the executing runs as attempts, as the node that runs them knows them."""
        rows = await self.rows(
            "SELECT r.*, c.uuid, c.target FROM runs r JOIN campaigns c ON c.id = r.campaign_id"
            " WHERE r.campaign_id = :id AND r.status = 'executing' ORDER BY r.scheduled_for",
            id=campaign_id,
        )
        return [
            Attempt(
                row.campaign_id,
                row.uuid,
                "",
                row.id,
                row.scheduled_for,
                row.attempt,
                row.target,
                {},
                row.claimed_at,
                row.start_before,
                row.takeovers,
            )
            for row in rows
        ]

    async def dump_rows(self, campaign_id: int) -> dict[str, list[Any]]:
        """Return the campaign's rows in every table, and the number of rows of all campaigns."""
        found: dict[str, list[Any]] = {}
        async with self.database.transaction() as connection:
            for table in metadata.sorted_tables:
                key = list(table.primary_key.columns)
                is_of_campaigns = table.name == "campaigns" or "campaign_id" in table.columns
                mine = key[0] == campaign_id if is_of_campaigns else sa.false()
                rows = await connection.execute(sa.select(table).where(mine).order_by(*key))
                found[table.name] = [tuple(row) for row in rows.all()]
            others = (
                f"(SELECT count(*) FROM {table.name}) AS {table.name}"
                for table in metadata.sorted_tables
            )
            counts = await connection.execute(sa.text(f"SELECT {', '.join(others)}"))
            found["count"] = [tuple(counts.one())]
        return found

    async def check_invariants(self, campaign_id: int) -> None:
        """Check the invariants of a campaign, computed from its rows."""
        campaign = await self.read_campaign(campaign_id)
        runs = await self.runs_of(campaign_id)
        timer, definition = await self.timer_of(campaign_id), await self.definition_of(campaign_id)
        is_open = [run for run in runs if RunStatus(run.status) in OPEN_RUN]
        waiting_for_overlap = [
            run for run in is_open if run.status == "queued" and run.next_attempt_at is None
        ]
        window_open = (
            definition is not None
            and definition.kind == "window"
            and campaign.status in ("scheduled", "launched", "executing", "paused")
            and (definition.ends_at is None or definition.ends_at > self.now)
        )
        assert campaign.open_runs == len(is_open)
        assert campaign.held_runs == sum(
            run.status == "held" and run.attempt == 0 for run in is_open
        )
        assert campaign.queued_runs == len(waiting_for_overlap)
        assert campaign.more_to_come == (timer is not None or window_open)
        assert timer is None or timer.revision == definition.revision
        if campaign.has_completed:
            assert "completed" in [run.status for run in runs]


@asynccontextmanager
async def open_timed_database(url: str) -> AsyncIterator[TimedDatabase]:
    """Open the database at ``url``."""
    database = FiringDatabase(url, pool_size=6, timeouts=BY_HAND)
    try:
        yield TimedDatabase(database)
    finally:
        await database.close()
