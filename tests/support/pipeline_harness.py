"""A pipeline over a store in memory, which wins every claim unless a test decides otherwise."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from campaignd import plugin
from daemon.domain.campaign.model import run_id
from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.errors import Unavailable
from daemon.domain.run.attempt import (
    ArmedEvent,
    Attempt,
    ClaimResult,
    DueEntry,
    ExpiredAttempt,
    FinishedAttempt,
    FinishResult,
    PendingRun,
    ReclaimedRun,
)
from daemon.domain.run.claim_plan import ClaimRequest
from daemon.domain.run.outcome import Delivered, Outcome, Retry
from daemon.domain.run.retry import RetryPolicy
from daemon.domain.schedule.schedule import EventKind
from daemon.pipeline.context import PipelineContext
from daemon.pipeline.pipeline import Pipeline
from daemon.runtime.clock import DatabaseClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.stopwatch import LoopTurn
from storage.outcome_rows import columns_of
from tests.support.clocks import NOON, SettableClock
from tests.support.waiting import PATIENCE_S

UUID_OF = [UUID(int=number) for number in range(10_000)]
DELIVERED = Delivered()


class FakeRunStore:
    """A store that records the claims and the outcomes that it is asked to write."""

    def __init__(self) -> None:
        self.down = False
        self.refuses_claims = False
        self.losing: set[int] = set()
        self.locked: set[int] = set()
        """Campaigns that another session has locked."""
        self.poison: set[int] = set()
        self.unwritable: set[type[Outcome]] = set()
        self.outcomes: list[Outcome] = []
        self.begun: dict[int, datetime | None] = {}
        self.late: set[int] = set()
        self.claims: list[list[int]] = []
        self.finished: list[tuple[int, str]] = []
        self.finishes: list[int] = []
        self.muffled: set[int] = set()
        """Campaigns of a batch whose outcomes are written although the reply is lost."""
        self.unheard: dict[int, FinishResult] = {}
        self.overtaken: list[int] = []
        self.released: list[tuple[int, str]] = []
        self.attempts = 1
        self.payload: dict[str, Any] = {}
        self.claims_fit = 1_000_000
        """Runs that fit into one claim; it postpones the others."""
        self.gate = asyncio.Event()
        """Held claims wait until this is set."""
        self.gate.set()
        self.asked_unheard: list[tuple[set[tuple[int, datetime]], datetime]] = []

    def _raise_if_refused(self, numbers: Sequence[int]) -> None:
        if self.down:
            raise Unavailable("away")
        if self.poison & set(numbers):
            raise ValueError("bad row")

    def _make_attempt(self, number: int, target: str, attempt: int = 1) -> Attempt:
        identity = run_id(UUID_OF[number], NOON)
        late = NOON + timedelta(hours=1)
        return Attempt(
            number, UUID_OF[number], "a", identity, NOON, attempt, target, self.payload, NOON, late
        )

    async def claim_plain(
        self, planned: Sequence[ClaimRequest], without_payload: Collection[str] = ()
    ) -> list[ClaimResult]:
        if len(planned) > self.claims_fit:
            return []
        won, _ = await self.claim(planned)
        return won

    async def claim(
        self, planned: Sequence[ClaimRequest], without_payload: Collection[str] = ()
    ) -> tuple[list[ClaimResult], list[int]]:
        numbers = [item.armed.campaign_id for item in planned]
        self._raise_if_refused(numbers)
        if self.refuses_claims:
            raise Unavailable("the disk is full")
        self.claims.append(numbers)
        await self.gate.wait()
        won: dict[tuple[str, bool], list[int]] = defaultdict(list)
        postponed = []
        for place, item in enumerate(planned):
            entry = item.armed
            if sum(map(len, won.values())) == self.claims_fit:
                postponed.append(place)
            elif entry.campaign_id not in self.losing:
                won[entry.target, entry.event.kind is EventKind.FIRE].append(place)
        results = [
            ClaimResult(
                places,
                Status.SCHEDULED,
                Status.EXECUTING if fires else Status.LAUNCHED,
                NOON,
                target,
                "executing" if fires else None,
                [self._make_attempt(numbers[place], target) for place in places] if fires else [],
            )
            for (target, fires), places in won.items()
        ]
        return results, postponed

    async def claim_attempts(
        self, entries: Sequence[PendingRun], without_payload: Collection[str] = ()
    ) -> tuple[list[Attempt], list[ExpiredAttempt], list[tuple[int, datetime]]]:
        self._raise_if_refused([entry.campaign_id for entry in entries])
        self.claims.append([entry.campaign_id for entry in entries])
        fit, others = entries[: self.claims_fit], entries[self.claims_fit :]
        works = [self._make_attempt(entry.campaign_id, entry.target, 2) for entry in fit]
        started = [work for work in works if work.campaign_id not in self.late]
        late = [
            ExpiredAttempt(work._replace(number=1), "retrying", Retry("late"))
            for work in works
            if work.campaign_id in self.late
        ]
        return started, late, [(entry.campaign_id, entry.scheduled_for) for entry in others]

    async def finish_plain(self, finished: Sequence[FinishedAttempt]) -> list[FinishResult]:
        return await self.finish(finished)

    async def finish(self, finished: Sequence[FinishedAttempt]) -> list[FinishResult]:
        numbers = [item.attempt.campaign_id for item in finished]
        self._raise_if_refused(numbers)
        self.finishes.append(len(finished))
        written: dict[RunStatus, list[int]] = defaultdict(list)
        if self.unwritable & {type(item.outcome) for item in finished}:
            raise ValueError("bad outcome")
        for place, (work, outcome, _, begun, *_) in enumerate(finished):
            self.outcomes.append(outcome)
            self.begun[work.campaign_id] = begun
            if work.campaign_id in self.losing | self.locked or work.campaign_id in self.unheard:
                continue
            self.finished.append((work.campaign_id, type(outcome).__name__))
            written[columns_of(outcome)[0]].append(place)
        results = [
            FinishResult(places, status, Status.EXECUTING, Status.COMPLETED, False)
            for status, places in written.items()
        ]
        if self.muffled & {numbers[place] for places in written.values() for place in places}:
            self.muffled = set()
            self.unheard |= {
                numbers[place]: result for result in results for place in result.places
            }
            raise Unavailable("the answer was lost")
        return results

    async def record_overtaken(self, finished: Sequence[FinishedAttempt]) -> None:
        self._raise_if_refused([])
        self.overtaken += [each.attempt.campaign_id for each in finished]

    async def find_blocked(
        self, attempts: Sequence[tuple[Attempt, str]]
    ) -> dict[tuple[int, datetime], int | None]:
        self._raise_if_refused([])
        return {work.key: 4711 for work, _ in attempts if work.campaign_id in self.locked}

    async def find_finish_result(self, work: Attempt, outcome: Outcome) -> FinishResult | None:
        self._raise_if_refused([])
        row = self.unheard.get(work.campaign_id)
        return row if row is not None and row.status == columns_of(outcome)[0] else None

    async def release(
        self, works: Sequence[Attempt], dispositions: Sequence[str], cause: str = ""
    ) -> list[ReclaimedRun]:
        self._raise_if_refused([work.campaign_id for work in works])
        self.released += [
            (work.campaign_id, disposition)
            for work, disposition in zip(works, dispositions, strict=True)
        ]
        return [
            ReclaimedRun(
                work.campaign_id,
                work.campaign_uuid,
                work.run_id,
                work.scheduled_for,
                work.number,
                work.target,
                "held" if disposition == "held" else "retrying",
                "its node stopped",
            )
            for work, disposition in zip(works, dispositions, strict=True)
            if work.campaign_id not in self.losing
        ]

    async def release_unacknowledged(
        self, in_flight: Collection[tuple[int, datetime]], since: datetime
    ) -> tuple[int, bool]:
        self._raise_if_refused([])
        self.asked_unheard.append((set(in_flight), since))
        return 0, True


class GatedTarget(plugin.Target):
    """Delivers at once, or when its gate is opened."""

    def __init__(self, *, slow: bool = False, outcome: Outcome = DELIVERED) -> None:
        self.gate = asyncio.Event()
        """When set, all attempts end."""
        self.gates: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        """When set, the attempts of one campaign end."""
        if not slow:
            self.gate.set()
        self.outcome = outcome
        self.asked: list[int] = []
        self.batch_size = 1
        self.under_way = self.most_under_way = 0

    async def deliver(self, work: Attempt) -> Outcome:
        self.asked.append(work.campaign_id)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        gates = self.gate, self.gates[work.campaign_id]
        opened = [asyncio.ensure_future(gate.wait()) for gate in gates if not self.gate.is_set()]
        try:
            if opened:
                await asyncio.wait(opened, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in opened:
                each.cancel()
            self.under_way -= 1
        return self.outcome


class RecordingTimer:
    """Records the calls of the pipeline."""

    def __init__(self) -> None:
        self.settled: list[int] = []
        self.followed: list[ArmedEvent] = []
        self.rechecked: list[int] = []
        self.attempts_asked = 0
        self.broken = False

    def settle(
        self,
        claimed: Sequence[DueEntry],
        following: Sequence[ArmedEvent] = (),
        lost: Sequence[int] = (),
        backlogged: Sequence[int] = (),
    ) -> None:
        del backlogged
        if self.broken:
            raise RuntimeError("the timer is broken")
        self.settled += [entry.campaign_id for entry in claimed]
        self.followed += following
        self.rechecked += lost

    def runs_finished(self, campaign_ids: Sequence[int], *, promoted: bool) -> None:
        self.attempts_asked += len(campaign_ids) if promoted else 0

    def on_runs_available(self) -> None:
        self.attempts_asked += 1


class PipelineHarness:
    """A pipeline over fakes of everything around it."""

    def __init__(
        self, *, batch: int = 4, pause_after: int = 0, **targets: tuple[GatedTarget, int]
    ) -> None:
        self.store, self.timer, self.clock = FakeRunStore(), RecordingTimer(), SettableClock()
        self.events: list[tuple[str, dict[str, Any]]] = []
        # The jitter makes every wait close to zero, so that no test waits for real time.
        self.health = DatabaseHealth(self.emit, self.clock, jitter=lambda: -1.0)
        self.node = NodeIdentity(self.clock, "me")
        self.node.extend_lease(math.inf)
        database_clock = DatabaseClock(self.clock)
        self.context = PipelineContext(
            store=self.store,
            timer=self.timer,
            node=self.node,
            clock=self.clock,
            database_clock=database_clock,
            turn=LoopTurn(self.clock, database_clock),
            health=self.health,
            emit=self.emit,
            batch=batch,
        )
        policy = RetryPolicy(pause_after=pause_after)
        self.pipeline = Pipeline(
            self.context,
            {name: (target, policy, count) for name, (target, count) in targets.items()},
        )

    def emit(self, event: str, /, **fields: Any) -> None:
        self.events.append((event, fields))

    def event_names(self) -> list[str]:
        return [name for name, _ in self.events]

    async def __aenter__(self) -> PipelineHarness:
        await self.pipeline.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.store.down = False
        self.store.poison = set()
        async with asyncio.timeout(PATIENCE_S):
            await self.pipeline.drain(0)
