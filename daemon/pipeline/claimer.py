"""Claims due entries, as far as their targets have room, and dispatches what was won."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import TypeVar

from daemon.domain.errors import Unavailable
from daemon.domain.ports import is_enabled
from daemon.domain.run.attempt import ArmedEvent, ClaimResult, DueEntry, PendingRun
from daemon.domain.run.claim_plan import ClaimRequest
from daemon.domain.schedule.schedule import EventKind
from daemon.pipeline.batching import bisect_failures
from daemon.pipeline.claim_log import log_claims
from daemon.pipeline.claim_reconciler import ClaimReconciler
from daemon.pipeline.completer import Completer
from daemon.pipeline.context import PipelineContext
from daemon.pipeline.plan_cache import PlanCache
from daemon.pipeline.refusals import Refusals
from daemon.pipeline.target_pool import TargetPool
from daemon.pipeline.target_pools import TargetPools
from daemon.runtime.service import Service, run_concurrently
from daemon.runtime.stopwatch import Stopwatch

FIRST_BATCH = 100
"""After a lull the first claim is small, so that the first runs of a burst start at once."""

CONCURRENT_CLAIMS = 2
"""Claims under way: the server works on one while this process makes or reads the other."""

YIELD_EVERY = 200
"""Plans made or results read before the event loop may go on."""


EntryT = TypeVar("EntryT", ArmedEvent, PendingRun)


class Claimer(Service):
    """From due to dispatched, a batch at a time, with the next one under way.

    Args:
        context: what the stages of the pipeline share.
        pools: the targets' pools.
        completer: ends pending runs that get no other attempt.
        plans: claim requests planned in advance.
        reconciler: releases the runs of claims whose reply was lost.
    """

    name = "claimer"

    def __init__(
        self,
        context: PipelineContext,
        pools: TargetPools,
        completer: Completer,
        plans: PlanCache,
        reconciler: ClaimReconciler,
    ) -> None:
        super().__init__()
        self._context = context
        self._pools = pools
        self._completer = completer
        self._plans = plans
        self._reconciler = reconciler
        self._next_batch = FIRST_BATCH
        self._affordable = context.batch
        """Maximum entries of a claim, so that their payloads fit into its bytes."""
        self._claims_under_way = 0
        self._is_reconciling = False
        self._claims_fail = False
        """Whether the last claim failed, and was not repeated since."""
        self._without_run: deque[ArmedEvent] = deque()
        """Due openings and closings of windows, which need no target."""
        self._pools_due: dict[str, TargetPool] = {}
        """Pools with a backlog, in the order in which they are served."""
        self.busy = Stopwatch(context.clock)
        self.refusals = Refusals(context.clock, context.emit)

    def enqueue(self, entries: Iterable[DueEntry]) -> None:
        """Take entries that are due, or will be in a moment. Never blocks."""
        by_target: defaultdict[str, list[DueEntry]] = defaultdict(list)
        for entry in entries:
            if isinstance(entry, ArmedEvent) and entry.event.kind is not EventKind.FIRE:
                self._without_run.append(entry)
            else:
                by_target[entry.target].append(entry)
        for target, due in by_target.items():
            pool = self._pools.of(target)
            refused = pool.enqueue(due)
            if refused:
                # They stay due in the database, and are loaded again once there is room.
                self._context.timer.settle(refused)
            if len(refused) < len(due):
                self._pools_due[pool.name] = pool
        self._context.claims_wanted.set()

    @property
    def due(self) -> int:
        """Openings and closings of windows that are due and not claimed yet."""
        return len(self._without_run)

    async def run(self) -> None:
        """Claim until asked to stop; entries that are not claimed stay due in the database."""
        await run_concurrently(self._claim_batches, CONCURRENT_CLAIMS)

    async def _claim_batches(self) -> None:
        context = self._context
        while not self.stopping.is_set():
            if await context.health.wait_while_backing_off(self):
                continue
            if self._is_reconciling or self._reconciler.due_in == 0:
                if self._is_reconciling or self._claims_under_way:
                    # Reconciliation and claims exclude each other; the end of either wakes us.
                    await self._wait_until_wanted(None)
                else:
                    await self._reconcile()
                continue
            batch = self._pick_batch()
            if not batch:
                if not self._pools_due:
                    self._next_batch = FIRST_BATCH
                self._forget_failure()
                await self._wait_until_wanted(self._reconciler.due_in)
                continue
            self._next_batch = context.batch
            began, since = context.database_clock.now(), context.clock.monotonic()
            self._claims_under_way += 1
            try:
                with self.busy.time_lap():
                    await self._claim_batch(batch)
            except Unavailable as error:
                self._claims_fail = True
                self._reconciler.claim_failed(began)
                self.enqueue(batch)
                self._claim_ended(batch)
                await context.health.failed(self, error)
            else:
                self._claim_ended(batch)
                self._claims_fail = False
                context.health.succeeded(self, since)

    def _pick_batch(self) -> list[DueEntry]:
        """Remove and return what to claim next, as far as the pools have room."""
        batch: list[DueEntry] = []
        limit = min(self._context.batch, self._next_batch, self._affordable)
        while self._without_run and len(batch) < limit:
            batch.append(self._without_run.popleft())
        # A pool that was served goes to the end, so that no target starves behind another's burst.
        for name in list(self._pools_due):
            pool = self._pools_due.pop(name)
            batch.extend(pool.pop(min(pool.room, limit - len(batch))))
            if pool.due:
                self._pools_due[name] = pool
        return batch

    async def _claim_batch(self, batch: Sequence[DueEntry]) -> None:
        pending = [entry for entry in batch if isinstance(entry, PendingRun)]
        events = [entry for entry in batch if isinstance(entry, ArmedEvent)]
        # Pending runs are older than new occurrences.
        if pending:
            await bisect_failures(pending, self._claim_attempts, self._refuse)
        if events:
            await self._claim_events(events)

    async def _claim_events(self, events: Sequence[ArmedEvent]) -> None:
        """Claim new occurrences: the plain ones by the short statement, then what is left."""
        newest = _newest_of_each_campaign(events)
        requests = await self._plan(newest)
        plain = [request for request in requests if request.is_plain]
        won = await self._claim_plain(plain) if plain else set()
        if len(won) < len(requests):
            known = {id(plain[place]) for place in won}
            left = [request for request in requests if id(request) not in known]
            await bisect_failures(left, self._claim_requests, self._on_unclaimable)
        else:
            self._postpone((), len(won))
        if len(newest) < len(events):
            self._context.timer.settle(_without(events, newest))

    async def _plan(self, events: Sequence[ArmedEvent]) -> list[ClaimRequest]:
        requests: list[ClaimRequest] = []
        now = self._context.database_clock.now()
        for number, event in enumerate(events, start=1):
            try:
                requests.append(self._plans.get(event, now))
            except Exception as error:  # for example a zone that this node's data lacks
                self._refuse(event, error)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        return requests

    async def _claim_plain(self, requests: Sequence[ClaimRequest]) -> set[int]:
        """Claim plain requests; return the indexes of those that were won."""
        try:
            results = await self._context.store.claim_plain(requests, self._pools.without_payload)
        except Unavailable:
            raise
        except Exception:
            return set()  # the general statement finds the request that is the cause
        self._take(requests, results)
        if is_enabled(self._context.emit, "run_claimed"):
            await self._log(requests, results)
        return {place for result in results for place in result.places}

    async def _claim_requests(self, requests: Sequence[ClaimRequest]) -> None:
        """Claim any requests; what was not won is lost, or postponed."""
        results, postponed = await self._context.store.claim(requests, self._pools.without_payload)
        self._take(requests, results)
        await self._log(requests, results)
        won = {place for result in results for place in result.places}
        known = won.union(postponed)
        if len(known) < len(requests):
            lost = [each.armed for place, each in enumerate(requests) if place not in known]
            self._context.timer.settle(lost, lost=[event.campaign_id for event in lost])
        self._postpone([requests[place].armed for place in postponed], len(won))

    def _take(self, requests: Sequence[ClaimRequest], results: Sequence[ClaimResult]) -> None:
        """Dispatch the attempts that were won, and arm the events that follow."""
        self.refusals.end()
        for result in results:
            won = [requests[place] for place in result.places]
            if result.attempts:
                self._pools.of(result.target).dispatch(result.attempts)
            self._context.timer.settle(
                [request.armed for request in won],
                [
                    request.armed._replace(event=request.next, due_at=request.due_of(request.next))
                    for request in won
                    if request.next is not None
                ],
                backlogged=[request.armed.campaign_id for request in won if request.backlog],
            )

    async def _log(self, requests: Sequence[ClaimRequest], results: Sequence[ClaimResult]) -> None:
        for result in results:
            for start in range(0, len(result.places), YIELD_EVERY):
                if start:
                    await asyncio.sleep(0)
                part = [requests[place] for place in result.places[start : start + YIELD_EVERY]]
                log_claims(self._context.emit, part, result)

    async def _claim_attempts(self, pending: Sequence[PendingRun]) -> None:
        """Claim and dispatch the next attempts of pending runs."""
        attempts, expired, postponed = await self._context.store.claim_attempts(
            pending, self._pools.without_payload
        )
        self.refusals.end()
        keys = set(postponed)
        again = [run for run in pending if (run.campaign_id, run.scheduled_for) in keys]
        self._context.timer.settle(_without(pending, again) if again else pending)
        self._pools.dispatch_again(attempts)
        for each in expired:
            self._completer.expire(each)
        self._postpone(again, len(attempts))

    def _postpone(self, entries: Sequence[DueEntry], claimed: int) -> None:
        """Take back what one claim had too many bytes for, and adapt the size of later claims."""
        if entries:
            self._affordable = max(1, claimed)
            self.enqueue(entries)
        else:
            self._affordable = min(2 * self._affordable, self._context.batch)

    def _claim_ended(self, batch: Sequence[DueEntry]) -> None:
        self._claims_under_way -= 1
        targets = Counter(
            entry.target
            for entry in batch
            if isinstance(entry, PendingRun) or entry.event.kind is EventKind.FIRE
        )
        for target, count in targets.items():
            self._pools.of(target).claiming -= count
        self._context.claims_wanted.set()

    def _forget_failure(self) -> None:
        """End the outage of claims while nothing can be claimed: no target has room, say."""
        if self._claims_fail and not self._claims_under_way:
            self._claims_fail = False
            self._context.health.succeeded(self)

    async def _reconcile(self) -> None:
        self._is_reconciling = True
        try:
            with self.busy.time_lap():
                await self._reconciler.reconcile()
        except Unavailable as error:
            await self._context.health.failed(self, error)
        else:
            # A server that answers this may still refuse claims: its disk is full, say.
            if not self._claims_fail:
                self._context.health.succeeded(self)
        finally:
            self._is_reconciling = False
            self._context.claims_wanted.set()

    async def _wait_until_wanted(self, timeout: float | None) -> None:
        wanted = self._context.claims_wanted
        wanted.clear()
        waits = [asyncio.ensure_future(event.wait()) for event in (wanted, self.stopping)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=timeout)
        finally:
            for wait in waits:
                wait.cancel()

    def _on_unclaimable(self, request: ClaimRequest, error: Exception) -> None:
        self._refuse(request.armed, error)

    def _refuse(self, entry: DueEntry, error: Exception) -> None:
        self._context.timer.settle([entry])
        self.refusals.add(entry.campaign_id, error)


def _without(entries: Sequence[EntryT], removed: Sequence[EntryT]) -> list[EntryT]:
    identities = {id(entry) for entry in removed}
    return [entry for entry in entries if id(entry) not in identities]


def _newest_of_each_campaign(events: Sequence[ArmedEvent]) -> list[ArmedEvent]:
    """Return one event for each campaign: after an outage a former one may be due too.

    If the database still has the older event, the claim is lost and the stored state is loaded.
    """
    newest: dict[int, ArmedEvent] = {}
    for event in events:
        other = newest.get(event.campaign_id)
        if other is None or (other.revision, other.due_at) < (event.revision, event.due_at):
            newest[event.campaign_id] = event
    return list(newest.values())
