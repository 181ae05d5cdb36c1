"""One node's statements on a timed database: it claims, finishes, and takes over when asked."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from daemon.cluster.store import NodeInfo
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
from daemon.domain.schedule.calendars import CalendarSet
from storage.nodes import Nodes
from storage.runs import RunStore

if TYPE_CHECKING:
    from tests.support.timed_database import TimedDatabase

LONG = 10_000_000.0
"""Seconds of a lease that does not end while a test moves through months."""


@dataclass(frozen=True)
class WonClaim:
    """The result of a claim, with its plan."""

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

    @property
    def attempt(self) -> Attempt | None:
        return self.claimed.attempts[0] if self.claimed.attempts else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.claimed, name)


def won_from(planned: Sequence[ClaimRequest], results: Sequence[ClaimResult]) -> list[WonClaim]:
    """Return the results of a claim, one for each event."""
    return [
        WonClaim(
            planned[place], result._replace(places=[place], attempts=result.attempts[n : n + 1])
        )
        for result in results
        for n, place in enumerate(result.places)
    ]


@dataclass
class DatabaseNode:
    """One node's statements; its clock is that of the database unless it is set ahead or behind."""

    db: TimedDatabase
    name: str
    firing: RunStore
    nodes: Nodes
    hold_targets: list[str] = field(default_factory=list)
    taken: list[ReclaimedRun] = field(default_factory=list)
    """The runs of the last take-over."""
    not_ended: list[str] = field(default_factory=list)
    """The roles whose sessions the last take-over could not end."""
    only_general: bool = False
    """Whether to leave the short statements out."""

    def _set_clock(self) -> None:
        self.firing.now = self.nodes.now = self.db.now

    async def claim(
        self, armed: Sequence[ArmedEvent] | None = None, *, believes: datetime | None = None
    ) -> list[WonClaim]:
        """Claim due events; the node plans as if the time were ``believes``."""
        self._set_clock()
        if armed is None:
            armed = await self.db.due_events()
        brakes, calendars = await self.db.brakes.read(), await self._calendars(armed)
        planned = [
            plan(item, believes or self.db.now, brakes=brakes, calendars=calendars)
            for item in armed
        ]
        found, postponed = await self._claim(planned)
        assert not postponed
        return found

    async def _calendars(self, armed: Sequence[ArmedEvent]) -> CalendarSet:
        """Return the shared calendars, where an event needs any."""
        windows = (item.schedule.send_window for item in armed)
        if any(window is not None and window.calendars for window in windows):
            return await self.db.timers.calendars()
        return CalendarSet()

    async def _claim(
        self, planned: Sequence[ClaimRequest]
    ) -> tuple[list[WonClaim], list[ClaimRequest]]:
        """Claim as the claimer does: by the short statement first, unless `only_general` is set."""
        found: list[WonClaim] = []
        plain = [] if self.only_general else [item for item in planned if item.is_plain]
        if plain:
            with contextlib.suppress(psycopg.errors.UniqueViolation):
                found = won_from(plain, await self.firing.claim_plain(plain))
        taken = {won.campaign_id for won in found}
        left = [item for item in planned if item.armed.campaign_id not in taken]
        if not left:
            return found, []
        results, postponed = await self.firing.claim(left)
        return found + won_from(left, results), [left[place] for place in postponed]

    async def claim_in_parts(self) -> list[int]:
        """Claim what is due until nothing is postponed; return the sizes of the claims."""
        self._set_clock()
        sizes: list[int] = []
        planned = [plan(item, self.db.now) for item in await self.db.due_events()]
        while planned:
            found, postponed = await self._claim(planned)
            assert len(found) + len(postponed) == len(planned)
            sizes.append(len(found))
            planned = postponed
        return sizes

    async def claim_all(self) -> list[WonClaim]:
        """Claim until no event is due."""
        found: list[WonClaim] = []
        while won := await self.claim():
            found += won
        return found

    async def claim_attempts(
        self, waiting: Sequence[PendingRun] | None = None
    ) -> tuple[list[Attempt], list[ExpiredAttempt]]:
        """Start the pending runs that are due; write those that came too late."""
        self._set_clock()
        if waiting is None:
            waiting = await self.db.due_pending_runs()
        works, late, postponed = await self.firing.claim_attempts(waiting)
        assert not postponed
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
        """Finish an attempt; return the result, or nothing if the run belongs to another node.

        While another node holds a lock, it is tried again, as the completer does.
        """
        item = FinishedAttempt(work, outcome or Delivered(), expected, begun)
        (written,) = await self.finish_batch(item)
        while written is None and await self.firing.find_blocked([(work, expected)]):
            (written,) = await self.finish_batch(item)
        return [] if written is None else [written]

    async def finish_batch(self, *items: FinishedAttempt) -> list[FinishResult | None]:
        """Write a batch as the completer does; return the result of each, None if not written."""
        self._set_clock()
        found: dict[int, FinishResult] = {}
        plain = [
            item
            for item in items
            if item.attempt.number == 1
            and item.expected == "executing"
            and isinstance(item.outcome, Delivered)
            and not self.only_general
        ]
        for batch, write in (plain, self.firing.finish_plain), (items, self.firing.finish):
            left = [item for item in batch if id(item) not in found]
            for result in await write(left) if left else ():
                found |= {id(left[place]): result for place in result.places}
        return [found.get(id(item)) for item in items]

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

    async def take_over(self, dead: DatabaseNode) -> int:
        self._set_clock()
        self.not_ended = await self.nodes.end_sessions(dead.name)
        batches = [
            batch async for batch in self.nodes.take_over(self.name, dead.name, self.hold_targets)
        ]
        self.taken = [run for batch in batches for run in batch]
        return len(self.taken)
