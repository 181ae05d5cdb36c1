"""Fills the window. Every reason to load is the same act: put what the database says into it.

Start-up, the horizon moving on, an edit, a lost connection, a dead neighbour's share, overdue rows,
a claim that was lost: no second code path, and none for recovery.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit
from daemon.domain.run.attempt import ArmedEvent, PendingRun, PollResult
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service
from daemon.timer.scheduler import TimerScheduler
from daemon.timer.store import TimerStore

START = (datetime.min.replace(tzinfo=UTC) + timedelta(days=2), 0)
"""Before every event; two days in, so that no time zone can push it out of range."""
Place = tuple[datetime, int, datetime]
"""Of a run among those that wait: when it is due, its campaign, when it was scheduled for."""
FIRST_RUN: Place = (*START, START[0])
ROWS_AT_ONCE = 5000
CHANGES_AT_ONCE = 10_000
RECHECK_S = 0.05
"""How soon an event that was not won is looked at again."""
OVERDUE_S = 1.0
"""How long the node that an event belongs to is given, before any other loads it."""
OTHERS_S = 5.0
"""How often other targets' overdue events are looked for behind the backlog of a full one."""
ANSWER_S = 15.0
"""A database that takes longer to answer a look is away, whatever its connection says."""

AnswerT = TypeVar("AnswerT")


async def _nothing(_soon: Iterable[ArmedEvent]) -> None:
    pass


class Loader(Service):
    """Keeps the window filled up to the horizon.

    Args:
        store: reads what is armed and what waits.
        alarm: whose window is filled.
        horizon: seconds ahead that are held.
        poll: seconds between looks at the database; edits arrive sooner, by notification.
        window_limit: the most entries held at once.
        turned: told whenever the database has answered, or is known to be away.
    """

    name = "loader"

    def __init__(
        self,
        store: TimerStore,
        alarm: TimerScheduler,
        *,
        link: DatabaseHealth,
        emit: Emit,
        horizon: float,
        poll: float,
        window_limit: int = 50_000,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._store = store
        self._alarm = alarm
        self._link = link
        self._emit = emit
        self._horizon = timedelta(seconds=horizon)
        # What is held for so long ahead needs no look at what comes behind it: idling is cheap.
        self._enough = timedelta(seconds=max(horizon / 2, 2 * poll))
        self._poll = poll
        self._soon = timedelta(seconds=3 * poll)
        self._shown_at = -math.inf
        self.on_soon: Callable[[Iterable[ArmedEvent]], Awaitable[None]] = _nothing
        """Shown, once a poll, what is due before the poll after the next."""
        self._limit = window_limit
        self._turned = turned
        self._shards: tuple[int, ...] = ()
        self._loaded_to = START
        self._loading_to = START[0]
        self._overdue_to = START
        self._waiting_to = FIRST_RUN
        self._with_enough: set[str] = set()
        self._followed: dict[int, ArmedEvent] | None = None
        self._others_looked_for = 0.0
        self._xmin: str | None = None
        self._asked: set[int] = set()
        self._lost: set[int] = set()
        self._everything = True
        self._wake = asyncio.Event()
        self.loaded = asyncio.Event()
        """Set once the window was filled for the first time."""
        self.is_full: Callable[[], bool] = lambda: False
        """Whether a target's backlog fills the memory it may have; the rest of it can wait."""
        self.overdue = 0
        """Events found unclaimed though due for a second, at the last look, up to ROWS_AT_ONCE."""

    # What others may ask for; none of it waits.

    def share(self, shards: tuple[int, ...]) -> None:
        """This node looks after other shards from now on."""
        if shards != self._shards:
            self._shards = shards
            self.reload()

    def reload(self) -> None:
        """Something may have been missed: load everything due soon."""
        self._everything = True
        self._wake.set()

    def changed(self, campaign_ids: Iterable[int]) -> None:
        """The schedules of these campaigns were written."""
        self._asked.update(campaign_ids)
        self._wake.set()

    def recheck(self, campaign_ids: Sequence[int]) -> None:
        """These were due but not won: look again in a moment."""
        self._lost.update(campaign_ids)
        if campaign_ids:
            asyncio.get_running_loop().call_later(RECHECK_S, self._wake.set)

    def recheck_attempts(self) -> None:
        """A run that waited is due."""
        self._wake.set()

    def done(self, entries: Sequence[ArmedEvent | PendingRun]) -> None:
        """These were claimed or lost; they may be loaded again."""
        self._alarm.window.done(entries)

    def follow(self, entries: Sequence[ArmedEvent]) -> None:
        """What comes next for schedules that this node has just claimed."""
        # What is being read just now may be from before the claim: up to there it is taken here.
        until, is_past = self._loading_to, self._alarm.window.holds_newer
        if self._followed is not None:
            self._followed.update((entry.campaign_id, entry) for entry in entries)
        self._alarm.load(
            [entry for entry in entries if entry.event.at < until and not is_past(entry)]
        )

    def database_now(self) -> datetime:
        """What the database's clock shows now, as far as known."""
        return self._alarm.database_now()

    async def run(self) -> None:
        """Load until asked to stop."""
        while not self.stopping.is_set():
            try:
                await self._load()
            except Unavailable as error:
                self._everything = True
                self._turned()
                await self._link.failed(self, error)
                continue
            self._link.ok(self)
            self.loaded.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll)
            self._wake.clear()

    async def stop(self, grace: float | None = None) -> None:
        """Load no more."""
        self.stopping.set()
        self._wake.set()
        await super().stop(grace)

    async def _load(self) -> None:
        look = await self._look()
        if self._everything:
            # What is held stays until it is due: a stale entry loses its claim, no more.
            self._everything = False
            self._loaded_to = self._overdue_before(), 0
            self._overdue_to = START
        await self._load_named()
        await self._load_horizon()
        await self._load_overdue(look.overdue)
        await self._load_waiting(look.waiting)
        await self._show_soon()

    async def _look(self) -> PollResult:
        """The guarantee behind notifications, and the one statement of a second without work."""
        first = self._xmin is None
        look = await self._ask(
            self._store.look(
                self._xmin or "0",
                self._overdue_before(),
                self._soon_at(),
                0 if first else CHANGES_AT_ONCE,
            )
        )
        self._xmin = look.xmin
        if first or len(look.campaign_ids) >= CHANGES_AT_ONCE:
            self._everything = True
        else:
            self._asked.update(look.campaign_ids)
        return look

    async def _load_named(self) -> None:
        named = self._asked | self._lost
        self._asked, self._lost = set(), set()
        if not named:
            return
        with self._reading() as followed:
            try:
                entries = await self._ask(self._store.of(sorted(named), self._until()))
            except Unavailable:
                self._asked |= named
                raise
            self._alarm.window.drop(named - followed.keys())
            await self._take(entries)

    async def _load_horizon(self) -> None:
        if self._loaded_to[0] > self.database_now() + self._enough:
            return
        while len(self._alarm.window) < self._limit:
            until = self._until()
            if until <= self._loaded_to[0]:
                return
            self._loading_to = until
            with self._reading():
                entries = await self._ask(
                    self._store.between(self._loaded_to, until, self._shards, ROWS_AT_ONCE)
                )
                await self._take(entries)
            if len(entries) < ROWS_AT_ONCE:
                self._loaded_to = until, 0
                return
            self._loaded_to = entries[-1].event.at, entries[-1].campaign_id

    async def _load_overdue(self, there_is: bool) -> None:
        """A part of what nobody claimed in time; the next part soon, so that nothing waits for it.

        What is on time is loaded between the parts of a backlog, however long that is.
        """
        if not there_is:
            self.overdue, self._overdue_to = 0, START
            return
        if len(self._alarm.window) >= self._limit:
            return
        is_full = self.is_full()
        if is_full and self._others_looked_for + OTHERS_S > asyncio.get_running_loop().time():
            return
        since = START if is_full else self._overdue_to
        found = await self._ask(self._store.overdue(since, self._overdue_before(), ROWS_AT_ONCE))
        self.overdue = len(found)
        # In a burst most of it is here already, and waits for its claim.
        unknown = [item.campaign_id for item in found if not self._alarm.window.knows(item)]
        if unknown:
            with self._reading():
                await self._take(await self._ask(self._store.of(unknown, self._until())))
        if is_full:
            self._others_looked_for = asyncio.get_running_loop().time()
        elif len(found) < ROWS_AT_ONCE:
            self._overdue_to = START
        else:
            self._overdue_to = found[-1].at, found[-1].campaign_id
            self._wake.set()

    async def _show_soon(self) -> None:
        # Once a poll, however often there is something to load.
        now = asyncio.get_running_loop().time()
        if now >= self._shown_at + self._poll:
            self._shown_at = now
            await self.on_soon(self._alarm.window.soon(self._soon_at()))

    async def _load_waiting(self, there_is: bool) -> None:
        """A part of the runs that wait, the next part soon: each target's turn comes."""
        if not there_is:
            self._waiting_to = FIRST_RUN
            return
        found = await self._ask(
            self._store.waiting(
                self._waiting_to,
                self._soon_at(),
                self._overdue_before(),
                self._shards,
                ROWS_AT_ONCE,
                self._have_enough(),
            )
        )
        await self._take(found)
        if len(found) < ROWS_AT_ONCE:
            self._waiting_to = FIRST_RUN
        else:
            last = found[-1]
            self._waiting_to = last.at, last.campaign_id, last.scheduled_for
            self._wake.set()

    def _have_enough(self) -> list[str]:
        """Targets of which so many runs that wait are here that it takes a while to claim them.

        Until half of them were claimed: reading again what is here already is work for nothing.
        """
        self._with_enough = {
            target
            for target, count in self._alarm.window.attempts_out.items()
            if count >= (ROWS_AT_ONCE if target in self._with_enough else 2 * ROWS_AT_ONCE)
        }
        return sorted(self._with_enough)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[dict[int, ArmedEvent]]:
        """While events are read and taken: what this node learns of them meanwhile counts."""
        followed: dict[int, ArmedEvent] = {}
        self._followed = followed
        try:
            yield followed
        finally:
            self._followed = None

    async def _ask(self, question: Awaitable[AnswerT]) -> AnswerT:
        """The database's answer, which is a sign of life; Unavailable when there is none."""
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await question
        except TimeoutError as error:
            raise Unavailable(f"no answer within {ANSWER_S:g} s") from error
        self._turned()
        return answer

    def _overdue_before(self) -> datetime:
        return self.database_now() - timedelta(seconds=OVERDUE_S)

    def _soon_at(self) -> datetime:
        return self.database_now() + self._soon

    def _until(self) -> datetime:
        return self.database_now() + self._horizon

    async def _take(self, entries: Sequence[ArmedEvent | PendingRun]) -> None:
        for start in range(0, len(entries), 500):
            part = entries[start : start + 500]
            if self._followed:
                part = [entry for entry in part if not self._is_past(entry)]
            self._alarm.load(part)
            await asyncio.sleep(0)

    def _is_past(self, entry: ArmedEvent | PendingRun) -> bool:
        """Whether it was read before a claim that this node has heard of since."""
        if self._followed is None or not isinstance(entry, ArmedEvent):
            return False
        next_ = self._followed.get(entry.campaign_id)
        return next_ is not None and (entry.revision, entry.event.at) < (
            next_.revision,
            next_.event.at,
        )
