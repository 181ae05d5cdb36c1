"""Campaigns in a real database, with time in the test's hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4, uuid5

import psycopg
import sqlalchemy as sa

from daemon.campaign_service import CampaignService
from daemon.cluster.store import NodeInfo
from daemon.domain.campaign.model import Campaign
from daemon.domain.campaign.state_machine import OPEN_RUN, RunStatus, Status
from daemon.domain.run.attempt import (
    ArmedEvent,
    Attempt,
    ClaimResult,
    ExpiredAttempt,
    FinishedAttempt,
    FinishResult,
    PendingRun,
    ReclaimedRun,
)
from daemon.domain.run.claim_plan import ClaimRequest, plan
from daemon.domain.run.outcome import Delivered, Outcome, Reject
from daemon.domain.schedule.schedule import CampaignType
from daemon.domain.sharding import SHARDS
from daemon.runtime.clock import SystemClock
from daemon.runtime.node_identity import NodeIdentity
from daemon.timer.loader import FIRST_EVENT, FIRST_RUN
from storage.campaigns import Campaigns
from storage.engine import Database
from storage.nodes import Nodes
from storage.runs import RunStore
from storage.tables import metadata
from storage.timers import Timers

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""A Monday; every test begins here."""

TICK = timedelta(microseconds=1)
ALL = list(range(SHARDS))
LONG = 10_000_000.0
"""Seconds; a lease that does not end while a test moves through months."""


GRACE = timedelta(hours=1)
"""What a schedule has that names none."""


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def days(count: float) -> timedelta:
    return timedelta(days=count)


def run_uuid(campaign: UUID, at: datetime) -> UUID:
    """Spec section 6, computed by the standard library."""
    return uuid5(campaign, at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def once(at: datetime, **extras: Any) -> dict[str, Any]:
    return {"schedule_type": "scheduled", "scheduled_at": at.isoformat(), **extras}


def daily(at: datetime | None, **extras: Any) -> dict[str, Any]:
    """Every day from `at`; `end_date` and the like go into recurring_config."""
    config = {"frequency": "daily", **extras.pop("config", {})}
    body = {"schedule_type": "recurring", "recurring_config": config, **extras}
    return body if at is None else {**body, "scheduled_at": at.isoformat()}


def iso(at: datetime) -> str:
    return at.isoformat()


async def continuous(world: World, every: int, length: timedelta, **extras: Any) -> int:
    """A segment campaign that runs every so many seconds from an hour after noon."""
    world.control._continuous_interval = every
    start = NOON + hours(1)
    return await world.started(
        "segment_triggered",
        {
            "startdate": iso(start),
            "enddate": iso(start + length),
            "recurring_schedule": "continuously",
            **extras,
        },
    )


def events_named(events: list[Any], name: str) -> list[Any]:
    """Return the events of that name."""
    return [event for event in events if event.event == name]


class _AtNow(Campaigns):
    """Campaigns whose edits are decided at the world's time."""

    def __init__(self, database: Database, world: World) -> None:
        super().__init__(database)
        self._world = world

    @asynccontextmanager
    async def edit(self, ref: int | UUID, now: datetime | None = None) -> AsyncIterator[Any]:
        async with super().edit(ref, now or self._world.now) as edit:
            yield edit


@dataclass(frozen=True)
class Won:
    """What a claim won, with what it was planned as."""

    planned: ClaimRequest
    claimed: ClaimResult

    @property
    def campaign_id(self) -> int:
        return self.planned.armed.campaign_id

    @property
    def kind(self) -> str:
        return self.planned.armed.event.kind

    @property
    def scheduled_for(self) -> datetime | None:
        return self.planned.fire_at

    @property
    def run_id(self) -> UUID | None:
        return self.planned.run_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self.claimed, name)


@dataclass
class Node:
    """One daemon's statements; its clock is the world's unless it is set ahead or behind."""

    world: World
    name: str
    firing: RunStore
    nodes: Nodes
    hold_targets: list[str] = field(default_factory=list)
    taken: list[ReclaimedRun] = field(default_factory=list)
    """What it took back last."""

    def _set_clock(self) -> None:
        self.firing.now = self.nodes.now = self.world.now

    async def claim(
        self, armed: Sequence[ArmedEvent] | None = None, *, believes: datetime | None = None
    ) -> list[Won]:
        """Claim what is due; `believes` is what this node takes for the time when it plans."""
        self._set_clock()
        if armed is None:
            armed = await self.world.due()
        planned = [plan(item, believes or self.world.now) for item in armed]
        return [Won(planned[won.place], won) for won in await self.firing.claim(planned)]

    async def claim_all(self) -> list[Won]:
        """Claim until nothing more is due."""
        found: list[Won] = []
        while won := await self.claim():
            found += won
        return found

    async def attempts(
        self, waiting: Sequence[PendingRun] | None = None
    ) -> tuple[list[Attempt], list[ExpiredAttempt]]:
        """Start what waits and is due; write those that came too late."""
        self._set_clock()
        if waiting is None:
            waiting = await self.world.waiting()
        works, late = await self.firing.claim_attempts(waiting)
        if late:
            await self.firing.finish(
                [FinishedAttempt(item.attempt, item.outcome, item.expected) for item in late]
            )
        return works, late

    async def finish(
        self,
        work: Attempt,
        outcome: Outcome | None = None,
        expected: str = "executing",
        begun: datetime | None = None,
    ) -> list[FinishResult]:
        """Return what was written; nothing if the run belonged to another node."""
        self._set_clock()
        written = await self.firing.finish(
            [FinishedAttempt(work, outcome or Delivered(), expected, begun)]
        )
        return [row for row in written if row is not None]

    async def fail(self, work: Attempt, reason: str = "no") -> list[FinishResult]:
        return await self.finish(work, Reject(reason))

    async def release(self, *works: Attempt, disposition: str = "retrying") -> int:
        self._set_clock()
        self.taken = await self.firing.release(works, [disposition] * len(works))
        return len(self.taken)

    async def register(self, lease: float) -> None:
        self._set_clock()
        await self.nodes.register(
            self.name, NodeInfo(self.name, "h", 1, "0", "t", "000000"), lease=lease
        )

    async def beat(self, lease: float = LONG, **fields: Any) -> Any:
        self._set_clock()
        return await self.nodes.beat(self.name, lease=lease, **{"oldest_claim_at": None, **fields})

    async def take_over(self, dead: Node) -> int:
        self._set_clock()
        batches = [
            batch async for batch in self.nodes.take_over(self.name, dead.name, self.hold_targets)
        ]
        self.taken = [run for batch in batches for run in batch]
        return len(self.taken)


class World:
    """A database, its time, and everything that a test asks or does."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOON
        self.store = _AtNow(database, self)
        self.control = CampaignService(self.store)
        self.timers = Timers(database)

    def set(self, now: datetime) -> None:
        self.now = now

    def after(self, step: timedelta) -> datetime:
        self.now += step
        return self.now

    async def node(self, name: str = "node", lease: float = LONG) -> Node:
        """A registered node."""
        node = Node(
            self,
            name,
            RunStore(self.database, NodeIdentity(SystemClock(), name)),
            Nodes(self.database),
        )
        await node.register(lease)
        return node

    async def create(self, kind: str = "one_time", **fields: Any) -> int:
        draft = Campaign(
            id=0,
            uuid=uuid4(),
            name="a campaign",
            type=CampaignType(kind),
            status=Status.DRAFT,
            **fields,
        )
        return (await self.control.create(draft, "tester")).id

    async def saved(self, body: dict[str, Any], **fields: Any) -> int:
        """A campaign with a `schedule` body, armed."""
        campaign_id = await self.create(**fields)
        await self.control.save_schedule(campaign_id, body, "tester")
        return campaign_id

    async def started(self, kind: str, body: dict[str, Any], **fields: Any) -> int:
        """A campaign with an `update_schedule` body, armed."""
        campaign_id = await self.create(kind, **fields)
        await self.control.update_schedule(campaign_id, body, "tester")
        await self.control.start(campaign_id, "tester")
        return campaign_id

    async def rows(self, statement: str, **binds: Any) -> list[Any]:
        async with self.database.transaction() as connection:
            result = await connection.execute(sa.text(statement), binds)
            return list(result.all()) if result.returns_rows else []

    async def campaign(self, campaign_id: int) -> Campaign:
        return await self.store.get(campaign_id)

    async def status(self, campaign_id: int) -> str:
        return (await self.campaign(campaign_id)).status.value

    async def runs(self, campaign_id: int) -> list[Any]:
        return await self.rows(
            "SELECT * FROM runs WHERE campaign_id = :id ORDER BY scheduled_for", id=campaign_id
        )

    async def run_statuses(self, campaign_id: int) -> list[str]:
        return [run.status for run in await self.runs(campaign_id)]

    async def events(self, campaign_id: int) -> list[Any]:
        return await self.rows(
            "SELECT * FROM campaign_events WHERE campaign_id = :id ORDER BY id", id=campaign_id
        )

    async def timer(self, campaign_id: int) -> Any:
        found = await self.rows("SELECT * FROM timers WHERE campaign_id = :id", id=campaign_id)
        return found[0] if found else None

    async def definition(self, campaign_id: int) -> Any:
        found = await self.rows(
            "SELECT * FROM schedule_definitions WHERE campaign_id = :id", id=campaign_id
        )
        return found[0] if found else None

    async def due(self, *campaign_ids: int) -> list[ArmedEvent]:
        """What a timer has loaded and is due by now."""
        if campaign_ids:
            return await self.timers.events_of(campaign_ids, self.now + TICK)
        found = await self.timers.overdue_events(FIRST_EVENT, self.now + TICK, 10_000, [])
        return await self.timers.events_of([item.campaign_id for item in found], self.now + TICK)

    async def armed(self, campaign_id: int) -> ArmedEvent:
        """The campaign's next event, however far ahead."""
        (found,) = await self.timers.events_of([campaign_id], self.now + days(10_000))
        return found

    async def waiting(self, *campaign_ids: int) -> list[PendingRun]:
        found = await self.later(self.now + TICK)
        return [one for one in found if not campaign_ids or one.campaign_id in campaign_ids]

    async def later(self, until: datetime) -> list[PendingRun]:
        """The runs whose next attempt is due before an instant."""
        return await self.timers.pending_runs(FIRST_RUN, until, self.now, ALL, 10_000, [])

    async def works(self, campaign_id: int) -> list[Attempt]:
        """The executing runs, as the node that has them in hand would report them."""
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

    async def dump(self, campaign_id: int) -> dict[str, list[Any]]:
        """This campaign's rows in every table, and how many there are of others'."""
        found: dict[str, list[Any]] = {}
        async with self.database.transaction() as connection:
            for table in metadata.sorted_tables:
                key = list(table.primary_key.columns)
                is_of_none = table.name in ("nodes", "schema_versions")
                mine = sa.false() if is_of_none else key[0] == campaign_id
                rows = await connection.execute(sa.select(table).where(mine).order_by(*key))
                found[table.name] = [tuple(row) for row in rows.all()]
            others = (
                f"(SELECT count(*) FROM {table.name}) AS {table.name}"
                for table in metadata.sorted_tables
            )
            counts = await connection.execute(sa.text(f"SELECT {', '.join(others)}"))
            found["count"] = [tuple(counts.one())]
        return found

    async def check(self, campaign_id: int) -> None:
        """What must hold of a campaign at every moment, computed from the rows themselves."""
        campaign = await self.campaign(campaign_id)
        runs = await self.runs(campaign_id)
        timer, definition = await self.timer(campaign_id), await self.definition(campaign_id)
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
        assert campaign.queued_runs == len(waiting_for_overlap)
        assert campaign.more_to_come == (timer is not None or window_open)
        assert timer is None or timer.revision == definition.revision
        if campaign.has_completed:
            assert "completed" in [run.status for run in runs]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[World]:
    """A world over the database at `url`."""
    database = Database(url, pool_size=3)
    try:
        yield World(database)
    finally:
        await database.close()


@contextmanager
def cloned(server: str, template: str) -> Iterator[str]:
    """URL of a migrated database that several tests share."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
