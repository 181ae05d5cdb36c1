"""Fills the window. Every reason to load is the same act: put what the database has into it.

Start-up, the moving horizon, an edit, a lost connection, a dead neighbour's shards, overdue rows, a
lost claim: there is no second code path, and none for recovery.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from daemon.domain.errors import Unavailable
from daemon.domain.run.attempt import ArmedEvent, DueEntry, PollResult
from daemon.pipeline.pipeline import Pipeline
from daemon.runtime.clock import DatabaseClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.polling_service import PollingService
from daemon.runtime.watchdog import Watchdog
from daemon.timer.inbox import EARLIEST, TimerInbox
from daemon.timer.scheduler import TimerScheduler
from daemon.timer.store import TimerStore

FIRST_EVENT = EARLIEST, 0
FIRST_RUN = EARLIEST, 0, EARLIEST
"""Sort key of a pending run: due instant, campaign id, scheduled instant."""
ROWS_AT_ONCE = 5000
CHANGES_AT_ONCE = 10_000
LOAD_AT_ONCE = 500
"""Entries put into the window before the event loop may go on."""
WINDOW_LIMIT = 50_000
"""Maximum entries in the window."""
OVERDUE_S = 1.0
"""Seconds that the node of a shard is given before any other node loads the event."""
OTHERS_S = 5.0
"""Seconds between queries for other targets' overdue events while a target's backlog is full."""
ANSWER_S = 15.0
"""A database that takes longer to answer counts as away, whatever its connection says."""

AnswerT = TypeVar("AnswerT")


async def _ignore_brakes(_changed_at: datetime | None) -> None:
    pass


class Loader(PollingService):
    """Keeps the window filled up to the horizon.

    Args:
        store: reads armed events and pending runs.
        scheduler: whose window is filled.
        inbox: what other components report.
        pipeline: whose plans are made in advance, and whose full targets are left out.
        node: whose shards are loaded.
        horizon: seconds ahead that the window holds.
        poll: seconds between polls of the database; edits arrive sooner, by notification.
        watchdog: gets a beat whenever the database has answered, or is known to be away.
        obey_brakes: called with the last change of the brakes, after every poll.
    """

    name = "loader"

    def __init__(
        self,
        store: TimerStore,
        scheduler: TimerScheduler,
        inbox: TimerInbox,
        pipeline: Pipeline,
        *,
        node: NodeIdentity,
        database_clock: DatabaseClock,
        health: DatabaseHealth,
        watchdog: Watchdog,
        horizon: float,
        poll: float,
        obey_brakes: Callable[[datetime | None], Awaitable[None]] = _ignore_brakes,
        window_limit: int = WINDOW_LIMIT,
    ) -> None:
        super().__init__(health, poll)
        self._wake = inbox.changed
        self._store = store
        self._scheduler = scheduler
        self._window = scheduler.window
        self._inbox = inbox
        self._pipeline = pipeline
        self._node = node
        self._database_clock = database_clock
        self._watchdog = watchdog
        self._obey_brakes = obey_brakes
        self._brakes_at: datetime | None = None
        self._horizon = timedelta(seconds=horizon)
        # A window that reaches this far needs no query for what comes behind it: idling is cheap.
        self._enough = timedelta(seconds=max(horizon / 2, 2 * poll))
        self._poll = poll
        self._soon = timedelta(seconds=3 * poll)
        self._warmed_at = -math.inf
        self._limit = window_limit
        self._loaded_to = FIRST_EVENT
        self._overdue_to = FIRST_EVENT
        self._pending_to = FIRST_RUN
        self._sated: set[str] = set()
        self._others_loaded_at = 0.0
        self._xmin: str | None = None
        self.on_pause_over: Callable[[], None] = lambda: None
        """Called when a poll finds a campaign whose pause is over."""
        self.loaded = asyncio.Event()
        """Set once the window was filled for the first time."""
        self.overdue = 0
        """Events that were due for a second and unclaimed at the last poll, up to ROWS_AT_ONCE."""
        self.applied_to: str | None = None
        """The snapshot of the last poll whose changes are loaded, and whose brakes are obeyed."""
        self.on_applied: list[Callable[[], None]] = []
        """Called once a change is applied for whose receipt a client waits."""

    async def run_once(self) -> None:
        """Poll the database, and load what is due soon or overdue. Raises Unavailable."""
        try:
            found = await self._poll_changes()
            await self._obey_brakes(found.brakes_at)
            if found.pause_over:
                self.on_pause_over()
            if found.calendars_revision != self._pipeline.plans.calendars.revision:
                calendars = await self._await_answer(self._store.calendars())
                self._pipeline.plans.calendars = calendars
            if self._inbox.take_reload():
                # Entries stay in the window until they are due: a stale one loses its claim.
                self._loaded_to = self._overdue_before(), 0
                self._overdue_to = FIRST_EVENT
            await self._load_edited()
            await self._load_horizon()
            await self._load_overdue(found.overdue)
            await self._load_pending(found.waiting)
            await self._warm_plans()
        except Unavailable:
            self._inbox.request_reload()
            self._watchdog.beat()
            raise
        self.applied_to = found.snapshot
        if found.brakes_at != self._brakes_at:
            self._brakes_at = found.brakes_at
            for applied in self.on_applied:
                applied()
        self.loaded.set()

    async def _poll_changes(self) -> PollResult:
        """Poll for changes: the guarantee behind notifications, and all that an idle node asks."""
        is_first = self._xmin is None
        found = await self._await_answer(
            self._store.poll(
                self._xmin or "0",
                self._overdue_before(),
                self._soon_at(),
                0 if is_first else CHANGES_AT_ONCE,
            )
        )
        self._xmin = found.xmin
        if is_first or len(found.campaign_ids) >= CHANGES_AT_ONCE:
            self._inbox.request_reload()
        else:
            self._inbox.request_campaigns(found.campaign_ids)
        return found

    async def _load_edited(self) -> None:
        campaign_ids = self._inbox.take_campaigns()
        if not campaign_ids:
            return
        with self._inbox.collect_following() as following:
            try:
                events = await self._await_answer(
                    self._store.events_of(sorted(campaign_ids), self._horizon_at())
                )
            except Unavailable:
                self._inbox.request_campaigns(campaign_ids)
                raise
            self._window.drop(campaign_ids - following.keys())
            await self._fill_window(events, following)

    async def _load_horizon(self) -> None:
        if self._loaded_to[0] > self._database_clock.now() + self._enough:
            return
        while len(self._window) < self._limit:
            until = self._horizon_at()
            if until <= self._loaded_to[0]:
                return
            self._inbox.loading_to = until
            with self._inbox.collect_following() as following:
                events = await self._await_answer(
                    self._store.events_between(
                        self._loaded_to, until, self._node.shards, ROWS_AT_ONCE
                    )
                )
                await self._fill_window(events, following)
            if len(events) < ROWS_AT_ONCE:
                self._loaded_to = until, 0
                return
            self._loaded_to = events[-1].due_at, events[-1].campaign_id

    async def _load_overdue(self, there_are_some: bool) -> None:
        """Load a part of the events that no node claimed in time; the next part follows soon.

        Events on time are loaded between the parts, however long the overdue list is.
        """
        if not there_are_some:
            self.overdue, self._overdue_to = 0, FIRST_EVENT
            return
        if len(self._window) >= self._limit:
            return
        full_targets = self._pipeline.pools.full()
        now = asyncio.get_running_loop().time()
        if full_targets and self._others_loaded_at + OTHERS_S > now:
            return
        since = FIRST_EVENT if full_targets else self._overdue_to
        found = await self._await_answer(
            self._store.overdue_events(since, self._overdue_before(), ROWS_AT_ONCE, full_targets)
        )
        self.overdue = len(found)
        # In a burst most overdue events are in the pipeline already, and wait for their claim.
        unknown = [item.campaign_id for item in found if not self._window.knows(item)]
        if unknown:
            with self._inbox.collect_following() as following:
                events = await self._await_answer(
                    self._store.events_of(unknown, self._horizon_at())
                )
                await self._fill_window(events, following)
        if full_targets:
            self._others_loaded_at = asyncio.get_running_loop().time()
        elif len(found) < ROWS_AT_ONCE:
            self._overdue_to = FIRST_EVENT
        else:
            self._overdue_to = found[-1].at, found[-1].campaign_id
            self.wake()

    async def _load_pending(self, there_are_some: bool) -> None:
        """Load a part of the pending runs; the next part follows soon, for the other targets.

        Targets with a full backlog, or with enough runs in the pipeline, are left out.
        """
        if not there_are_some:
            self._pending_to = FIRST_RUN
            return
        found = await self._await_answer(
            self._store.pending_runs(
                self._pending_to,
                self._soon_at(),
                self._overdue_before(),
                self._node.shards,
                ROWS_AT_ONCE,
                [*self._pipeline.pools.full(), *self._sated_targets()],
            )
        )
        await self._fill_window(found, {})
        if len(found) < ROWS_AT_ONCE:
            self._pending_to = FIRST_RUN
        else:
            last = found[-1]
            self._pending_to = last.at, last.campaign_id, last.scheduled_for
            self.wake()

    def _sated_targets(self) -> list[str]:
        """Return the targets with enough runs in the pipeline for the next polls.

        A target is left out until half of its runs were claimed: reading them again is waste.
        """
        self._sated = {
            target
            for target, count in self._window.runs_handed_out.items()
            if count >= (ROWS_AT_ONCE if target in self._sated else 2 * ROWS_AT_ONCE)
        }
        return sorted(self._sated)

    async def _warm_plans(self) -> None:
        """Plan, once a poll, the claims of what is due before the poll after the next."""
        now = asyncio.get_running_loop().time()
        if now >= self._warmed_at + self._poll:
            self._warmed_at = now
            await self._pipeline.plans.warm(self._window.soon(self._soon_at()))

    async def _fill_window(
        self, entries: Sequence[DueEntry], following: dict[int, ArmedEvent]
    ) -> None:
        """Put entries into the window, but those read before a claim that was settled since."""
        for start in range(0, len(entries), LOAD_AT_ONCE):
            part = entries[start : start + LOAD_AT_ONCE]
            if following:
                part = [entry for entry in part if not _is_past(entry, following)]
            if self._window.load(part):
                self._scheduler.wake()
            await asyncio.sleep(0)

    async def _await_answer(self, question: Awaitable[AnswerT]) -> AnswerT:
        """Return the database's answer, which is a beat; raise Unavailable without one."""
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await question
        except TimeoutError as error:
            raise Unavailable(f"no answer within {ANSWER_S:g} s") from error
        self._watchdog.beat()
        return answer

    def _overdue_before(self) -> datetime:
        return self._database_clock.now() - timedelta(seconds=OVERDUE_S)

    def _soon_at(self) -> datetime:
        return self._database_clock.now() + self._soon

    def _horizon_at(self) -> datetime:
        return self._database_clock.now() + self._horizon


def _is_past(entry: DueEntry, following: dict[int, ArmedEvent]) -> bool:
    """Return whether a claim that was settled meanwhile has armed a later event."""
    if not isinstance(entry, ArmedEvent):
        return False
    newer = following.get(entry.campaign_id)
    return newer is not None and (entry.revision, entry.due_at) < (newer.revision, newer.due_at)
