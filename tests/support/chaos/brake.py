"""A person in an episode: freezes and thaws everything, and decides on what is held."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal, NamedTuple, TypeVar

import sqlalchemy as sa

from daemon.domain.brakes import Overdue
from daemon.domain.errors import Conflict, Unavailable
from daemon.domain.run.held import HELD_SELECTOR
from storage.brakes import BrakeStore
from storage.engine import Database
from storage.held_runs import HeldRuns

ACTOR = "chaos"
_CLOCK = sa.select(sa.func.clock_timestamp().label("at"))
FREEZE_WITHIN_S = 2.0
THAW_WITHIN_S = 60.0
T = TypeVar("T")


class FrozenPeriod(NamedTuple):
    """A freeze: when it was in force at the latest, and until when it was at least."""

    since: datetime
    until: datetime


class BrakePerson:
    """Acts on the database directly, and tries again while a fault keeps it away.

    Args:
        url: the database.
        decision: what becomes of everything that is held before its first attempt.
    """

    def __init__(self, url: Callable[[], str], decision: Literal["release", "drop"]) -> None:
        self._url = url
        self._decision = decision
        self._frozen_at: datetime | None = None
        self.periods: list[FrozenPeriod] = []

    def freeze(self) -> None:
        """Freeze everything, unless the database is away."""

        async def act(database: Database) -> datetime | None:
            brakes = BrakeStore(database)
            await brakes.freeze(None, ACTOR)
            # A clock read after the commit, so that it is in force by then.
            rows = await database.rows(_CLOCK)
            at: datetime = rows[0].at
            return at

        with contextlib.suppress(Unavailable):
            self._frozen_at = self._try(act, FREEZE_WITHIN_S)

    def thaw(self, overdue: Overdue) -> None:
        """End the freeze."""

        async def act(database: Database) -> datetime:
            rows = await database.rows(_CLOCK)
            with contextlib.suppress(Conflict):  # the answer to an earlier try was lost
                await BrakeStore(database).thaw(None, ACTOR, overdue=overdue)
            at: datetime = rows[0].at
            return at

        until = self._try(act, THAW_WITHIN_S)
        if self._frozen_at is not None:
            self.periods.append(FrozenPeriod(self._frozen_at, until))
            self._frozen_at = None

    def decide(self) -> None:
        """Release or drop everything that is held before its first attempt."""
        where = HELD_SELECTOR.absent._replace(all_=True)

        async def act(database: Database) -> None:
            held = HeldRuns(database)
            if await held.count(where, "drop"):
                await held.decide_many(where, self._decision, ACTOR, 1_000_000)

        with contextlib.suppress(Unavailable):
            self._try(act, FREEZE_WITHIN_S)

    def _try(self, act: Callable[[Database], Awaitable[T]], within: float) -> T:
        async def once() -> T:
            database = Database(self._url(), pool_size=1)
            try:
                async with asyncio.timeout(within):
                    return await act(database)
            except TimeoutError as error:
                raise Unavailable("no answer") from error
            finally:
                await database.close()

        ends = time.monotonic() + within
        while True:
            try:
                return asyncio.run(once())
            except Unavailable:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.1)
