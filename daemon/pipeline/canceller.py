"""Ends the attempts of runs that were stopped, and begins none of campaigns that were paused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from daemon.domain.campaign.state_machine import RunStatus, Status
from daemon.domain.errors import Unavailable
from daemon.domain.ports import Clock, Emit
from daemon.domain.run.attempt import Attempt
from daemon.pipeline.target_pool import Key, TargetPool, key_of
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.service import Service


class RunStatusStore(Protocol):
    """Reads what became of runs."""

    async def statuses(
        self, works: Sequence[Attempt]
    ) -> Mapping[tuple[int, datetime], tuple[str, int, str]]:
        """Status and attempt of runs, and their campaign's, by (campaign id, scheduled for)."""
        ...


class Release(Protocol):
    """Gives executing runs back."""

    async def __call__(
        self, works: Sequence[Attempt], dispositions: Sequence[str], cause: str
    ) -> object: ...


class RunCanceller(Service):
    """Looks at the runs in hand of campaigns that were edited, and at what is long in hand.

    News of an edit is a hint, a look each ``every`` seconds the guarantee. An answer that comes
    after the run was stopped is refused when it is written.

    Args:
        store: reads what became of runs.
        release: gives back what was claimed and not begun when its campaign was paused.
        lanes: what this node has in hand.
        every: seconds between looks at what has been in hand since the one before.
    """

    name = "stopping"

    def __init__(
        self,
        store: RunStatusStore,
        release: Release,
        lanes: Callable[[], Iterable[TargetPool]],
        *,
        clock: Clock,
        link: DatabaseHealth,
        emit: Emit,
        every: float,
    ) -> None:
        super().__init__()
        self._store = store
        self._release = release
        self._lanes = lanes
        self._clock = clock
        self._link = link
        self._emit = emit
        self._every = every
        self._looked_at = clock.monotonic()
        self._edited: set[int] = set()
        self._seen: set[Key] = set()
        """In hand at the last look."""
        self._paused: list[Attempt] = []
        """Out of hand, and not given back yet."""
        self._wake = asyncio.Event()

    def changed(self, campaign_ids: Iterable[int]) -> None:
        """These campaigns were edited. Never blocks."""
        self._edited.update(campaign_ids)
        self._wake.set()

    async def run(self) -> None:
        """Look until asked to stop."""
        while not self.stopping.is_set():
            await self._woken()
            edited, self._edited = self._edited, set()
            held = self._of_interest(edited)
            try:
                if held:
                    self._judge(held, await self._store.statuses([work for _, work in held]))
                await self._give_back()
            except Unavailable as error:
                self._edited |= edited
                self._wake.set()
                await self._link.failed(self, error)
            else:
                self._link.ok(self)

    async def stop(self, grace: float | None = None) -> None:
        """Look no more."""
        self.stopping.set()
        self._wake.set()
        await super().stop(grace)

    async def _woken(self) -> None:
        left = self._looked_at + self._every - self._clock.monotonic()
        if left > 0:
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                pass
        self._wake.clear()

    def _of_interest(self, edited: Collection[int]) -> list[tuple[TargetPool, Attempt]]:
        """What is in hand of these campaigns, and, now and then, what was at the last look too."""
        seen: Collection[Key] = ()
        if self._clock.monotonic() >= self._looked_at + self._every:
            self._looked_at = self._clock.monotonic()
            seen, self._seen = self._seen, {key for lane in self._lanes() for key in lane.in_flight}
        if not edited and not seen:
            return []
        return [
            (lane, work)
            for lane in self._lanes()
            for key, work in lane.in_flight.items()
            if key in seen or work.campaign_id in edited
        ]

    def _judge(
        self,
        held: Iterable[tuple[TargetPool, Attempt]],
        found: Mapping[tuple[int, datetime], tuple[str, int, str]],
    ) -> None:
        paused: dict[TargetPool, set[Key]] = {}
        for lane, work in held:
            status, attempt, campaign = found.get(key_of(work), (None, 0, None))
            if (status, attempt) != (RunStatus.EXECUTING, work.attempt):
                lane.cancel(work)
            elif campaign == Status.PAUSED:
                paused.setdefault(lane, set()).add(key_of(work))
        for lane, keys in paused.items():
            self._paused += lane.drain_not_started(keys)

    async def _give_back(self) -> None:
        if self._paused:
            works = list(self._paused)
            dispositions = ["not_started"] * len(works)
            await self._release(works, dispositions, cause="the campaign was paused")
            del self._paused[: len(works)]
            self._emit("runs_released", count=len(works), level="info")
