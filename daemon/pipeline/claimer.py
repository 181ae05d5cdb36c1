"""Claims what is due, as far as its target has room, and dispatches what was won."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Clock, Emit, is_enabled
from daemon.domain.run.attempt import ArmedEvent, Attempt, ClaimResult, PendingRun
from daemon.domain.run.claim_plan import ClaimRequest
from daemon.domain.run.outcome import Outcome
from daemon.domain.schedule.schedule import EventKind
from daemon.pipeline.claim_reconciler import ClaimReconciler
from daemon.pipeline.plan_cache import PlanCache
from daemon.pipeline.store import PipelineStore
from daemon.pipeline.target_pool import TargetPool
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service, run_concurrently
from daemon.runtime.stopwatch import Stopwatch

EntryT = TypeVar("EntryT")

FIRST_BATCH = 100
"""After a lull the first claim is small, so that the first runs of a burst start at once."""

AT_ONCE = 2
"""Claims under way: the server works on one while this process makes or reads the other."""

PLANNED_AT_ONCE = 200
"""Plans made before the event loop may go on."""


class Source(Protocol):
    """Where due entries come from, and go back to."""

    def done(self, entries: Sequence[ArmedEvent | PendingRun]) -> None:
        """These were claimed or lost."""
        ...

    def follow(self, entries: Sequence[ArmedEvent]) -> None:
        """What comes next for schedules that this node has just claimed."""
        ...

    def recheck(self, campaign_ids: Sequence[int]) -> None:
        """These were not won: load what the database says of them, in a moment."""
        ...


class Claimer(Service):
    """From due to dispatched, a batch at a time, with the next one under way."""

    name = "claim"

    def __init__(
        self,
        store: PipelineStore,
        lanes: Callable[[str], TargetPool],
        *,
        source: Source,
        settle: Callable[[Attempt, Outcome, str], None],
        database_now: Callable[[], datetime],
        clock: Clock,
        link: DatabaseHealth,
        emit: Emit,
        batch: int,
        unheard: ClaimReconciler,
    ) -> None:
        super().__init__()
        self._store = store
        self._lane = lanes
        self._source = source
        self._settle = settle
        self._database_now = database_now
        self._clock = clock
        self._link = link
        self._emit = emit
        self._batch = batch
        self._unheard = unheard
        self._wake = asyncio.Event()
        self._next_batch = FIRST_BATCH
        self._claiming = 0
        self._looking = False
        self._without_run: deque[ArmedEvent] = deque()
        self._lanes_due: dict[str, TargetPool] = {}
        self.ahead = PlanCache()
        self.busy = Stopwatch(clock)
        self.backlogged: set[int] = set()
        """Campaigns whose next occurrence is due and waits for the run before it."""

    def take(self, entry: ArmedEvent | PendingRun) -> None:
        """An entry is due. Never blocks."""
        if isinstance(entry, ArmedEvent) and entry.event.kind is not EventKind.FIRE:
            # A window opens or closes without its target's help.
            self._without_run.append(entry)
        else:
            lane = self._lane(entry.target)
            if not lane.add(entry):
                # It stays due in the database, and is loaded again once there is room.
                self._source.done([entry])
                return
            self._lanes_due[lane.name] = lane
        self._wake.set()

    @property
    def due(self) -> int:
        """Windows' openings and closings that are due and not claimed yet."""
        return len(self._without_run)

    def room_freed(self) -> None:
        """A target can take more."""
        self._wake.set()

    async def run(self) -> None:
        """Claim until asked to stop; what is not claimed stays due in the database."""
        await run_concurrently(self._run, AT_ONCE)

    async def _run(self) -> None:
        while not self.stopping.is_set():
            if await self._link.waits_with(self):
                continue
            if self._looking or self._unheard.due_in == 0:
                if self._looking or self._claiming:
                    # It looks at what no claim is about to change; the end of either wakes us.
                    self._wake.clear()
                    await self._woken(None)
                    continue
                await self._look_for_unheard()
            batch = self._pick()
            if not batch:
                if not self._lanes_due:
                    self._next_batch = FIRST_BATCH
                self._wake.clear()
                await self._woken(self._unheard.due_in)
                continue
            self._next_batch = self._batch
            began, since = self._database_now(), self._clock.monotonic()
            self._claiming += 1
            try:
                with self.busy.lap():
                    await self._claim(batch)
            except Unavailable as error:
                self._unheard.suspect(began)
                self._give_back(batch)
                self._claimed(batch)
                await self._link.failed(self, error)
            else:
                self._claimed(batch)
                self._link.ok(self, since)

    def _claimed(self, batch: Sequence[ArmedEvent | PendingRun]) -> None:
        """It is known what became of a batch."""
        self._claiming -= 1
        for entry in batch:
            if isinstance(entry, PendingRun) or entry.event.kind is EventKind.FIRE:
                self._lane(entry.target).claiming -= 1
        self._wake.set()

    async def _look_for_unheard(self) -> None:
        self._looking = True
        try:
            with self.busy.lap():
                await self._unheard.look()
        except Unavailable as error:
            await self._link.failed(self, error)
        else:
            self._link.ok(self)
        finally:
            self._looking = False
            self._wake.set()

    async def _woken(self, timeout: float | None) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (self._wake, self.stopping)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=timeout)
        finally:
            for wait in waits:
                wait.cancel()

    def _pick(self) -> list[ArmedEvent | PendingRun]:
        batch: list[ArmedEvent | PendingRun] = []
        limit = min(self._batch, self._next_batch)
        while self._without_run and len(batch) < limit:
            batch.append(self._without_run.popleft())
        # The lane that was served goes to the end, so that none is starved by another's burst.
        for name in list(self._lanes_due):
            lane = self._lanes_due.pop(name)
            batch.extend(lane.take(min(lane.room, limit - len(batch))))
            if lane.due:
                self._lanes_due[name] = lane
        return batch

    def _give_back(self, batch: Sequence[ArmedEvent | PendingRun]) -> None:
        for entry in batch:
            self.take(entry)

    async def _claim(self, batch: Sequence[ArmedEvent | PendingRun]) -> None:
        armed = [entry for entry in batch if isinstance(entry, ArmedEvent)]
        waiting = [entry for entry in batch if isinstance(entry, PendingRun)]
        # What waited already is older.
        if waiting:
            await bisect_failures(waiting, self._claim_attempts, self._poisoned)
        if armed:
            await bisect_failures(armed, self._claim_events, self._poisoned)

    async def _claim_events(self, armed: Sequence[ArmedEvent]) -> None:
        planned: list[ClaimRequest] = []
        now = self._database_now()
        for entry in _newest(armed):
            planned.append(self.ahead.plan(entry, now))
            if len(planned) % PLANNED_AT_ONCE == 0:
                await asyncio.sleep(0)
        won = await self._store.claim(planned)
        self._source.done(armed)
        following: list[ArmedEvent] = []
        tells = is_enabled(self._emit, "run_claimed")
        for number, claimed in enumerate(won, start=1):
            if number % PLANNED_AT_ONCE == 0:
                await asyncio.sleep(0)
            item = planned[claimed.place]
            if item.next is not None:
                following.append(item.armed._replace(event=item.next))
                if item.backlog:
                    self.backlogged.add(item.armed.campaign_id)
            self._won(item, claimed, tells)
        self._source.follow(following)
        if len(won) < len(armed):
            had = {planned[claimed.place].armed.campaign_id for claimed in won}
            self._source.recheck([e.campaign_id for e in armed if e.campaign_id not in had])

    def _won(self, item: ClaimRequest, claimed: ClaimResult, tells: bool) -> None:
        for bulk in item.bulk:
            self._emit(
                "occurrences_passed",
                campaign_id=item.armed.campaign_id,
                campaign_uuid=item.armed.campaign_uuid,
                first=bulk.first,
                last=bulk.last,
                count=bulk.count,
                cause=bulk.cause,
            )
        for old in item.older:
            self._emit_run(f"run_{old.status}", item, claimed, old.run_id, old.at)
        if claimed.attempt is not None:
            if tells:
                self._emit_run("run_claimed", item, claimed, item.run_id, item.fire_at)
            self._lane(claimed.target).dispatch(claimed.attempt)
        elif claimed.made is not None:
            self._emit_run(f"run_{claimed.made}", item, claimed, item.run_id, item.fire_at)
        elif item.armed.event.kind is not EventKind.FIRE:
            self._emit(
                "window_opened" if item.armed.event.kind is EventKind.OPEN else "window_closed",
                campaign_id=item.armed.campaign_id,
                campaign_uuid=item.armed.campaign_uuid,
                from_status=claimed.from_status,
                to_status=claimed.to_status,
            )

    def _emit_run(
        self,
        event: str,
        item: ClaimRequest,
        claimed: ClaimResult,
        run_id: UUID | None,
        scheduled_for: datetime | None,
    ) -> None:
        late = claimed.claimed_at - scheduled_for if scheduled_for is not None else None
        self._emit(
            event,
            campaign_id=item.armed.campaign_id,
            campaign_uuid=item.armed.campaign_uuid,
            run_id=run_id,
            scheduled_for=scheduled_for,
            lateness_ms=None if late is None else round(late.total_seconds() * 1000, 3),
            target=claimed.target,
            from_status=claimed.from_status,
            to_status=claimed.to_status,
        )

    async def _claim_attempts(self, waiting: Sequence[PendingRun]) -> None:
        works, too_late = await self._store.claim_attempts(waiting)
        self._source.done(waiting)
        for work in works:
            self._lane(work.target).dispatch(work)
        for late in too_late:
            self._settle(late.attempt, late.outcome, late.expected)

    def _poisoned(self, entry: ArmedEvent | PendingRun, error: Exception) -> None:
        self._source.done([entry])
        self._emit(
            "claim_failed",
            campaign_id=entry.campaign_id,
            error=f"{type(error).__name__}: {error}",
        )


def _newest(armed: Sequence[ArmedEvent]) -> list[ArmedEvent]:
    """One entry for each campaign: after an outage what it was armed with before may be due too.

    If the database still has the older one, the claim is lost and what is true is loaded.
    """
    newest: dict[int, ArmedEvent] = {}
    for entry in armed:
        other = newest.get(entry.campaign_id)
        if other is None or (other.revision, other.event.at) < (entry.revision, entry.event.at):
            newest[entry.campaign_id] = entry
    return list(newest.values())


async def bisect_failures(
    entries: Sequence[EntryT],
    work: Callable[[Sequence[EntryT]], Awaitable[None]],
    poisoned: Callable[[EntryT, Exception], None],
) -> None:
    """Do ``work`` on all, or on ever smaller parts, so that one bad row stops nobody else's.

    Raises:
        Unavailable: the database is away, which is no entry's fault.
    """
    try:
        await work(entries)
    except Unavailable:
        raise
    except Exception as error:
        if len(entries) == 1:
            poisoned(entries[0], error)
            return
        middle = len(entries) // 2
        await bisect_failures(entries[:middle], work, poisoned)
        await bisect_failures(entries[middle:], work, poisoned)
