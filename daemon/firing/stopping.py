"""Ends the attempts of runs that were stopped: what is under way need not go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from daemon.domain.errors import Unavailable
from daemon.domain.states import RunStatus
from daemon.domain.work import Work
from daemon.firing.lane import Lane, key_of
from daemon.lifecycle.link import Link
from daemon.lifecycle.service import Service


class Statuses(Protocol):
    """Reads what became of runs."""

    async def statuses(
        self, works: Sequence[Work]
    ) -> Mapping[tuple[int, datetime], tuple[str, int]]:
        """Status and attempt of runs, by (campaign id, scheduled for)."""
        ...


class Stopping(Service):
    """Looks at the runs in hand of campaigns that were edited, and cancels those that are over.

    A hint only: an answer that comes after the run was stopped is refused when it is written.
    """

    name = "stopping"

    def __init__(self, store: Statuses, lanes: Callable[[], Iterable[Lane]], link: Link) -> None:
        super().__init__()
        self._store = store
        self._lanes = lanes
        self._link = link
        self._edited: set[int] = set()
        self._wake = asyncio.Event()

    def changed(self, campaign_ids: Iterable[int]) -> None:
        """These campaigns were edited. Never blocks."""
        self._edited.update(campaign_ids)
        self._wake.set()

    async def run(self) -> None:
        """Look until asked to stop."""
        while not self.stopping.is_set():
            await self._wake.wait()
            self._wake.clear()
            edited, self._edited = self._edited, set()
            held = [
                (lane, work)
                for lane in self._lanes()
                for work in lane.in_hand.values()
                if work.campaign_id in edited
            ]
            if not held:
                continue
            try:
                found = await self._store.statuses([work for _, work in held])
            except Unavailable as error:
                self._edited |= edited
                self._wake.set()
                await self._link.failed(self, error)
                continue
            self._link.ok(self)
            for lane, work in held:
                if found.get(key_of(work)) != (RunStatus.EXECUTING, work.attempt):
                    lane.cancel(work)

    async def stop(self, grace: float | None = None) -> None:
        """Look no more."""
        self.stopping.set()
        self._wake.set()
        await super().stop(grace)
