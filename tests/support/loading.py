"""A loader over a fake store, without a daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from daemon.domain.ports import Emit
from daemon.domain.run.attempt import ArmedEvent
from daemon.domain.schedule.calendars import CalendarSet
from daemon.pipeline.pipeline import Pipeline
from daemon.runtime.clock import DatabaseClock, SystemClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.runtime.node_identity import NodeIdentity
from daemon.runtime.watchdog import Watchdog
from daemon.timer.inbox import TimerInbox
from daemon.timer.loader import Loader
from daemon.timer.scheduler import TimerScheduler
from daemon.timer.store import TimerStore
from daemon.timer.window import WindowJobStore

PATIENCE_S = 60

Warm = Callable[[Iterable[ArmedEvent]], Awaitable[None]]


async def _warm_nothing(_soon: Iterable[ArmedEvent]) -> None:
    pass


class PipelineStub:
    """The pipeline, as far as the loader reads it."""

    def __init__(self, full: list[str], warm: Warm) -> None:
        self._full = full
        self.warm = warm
        self.calendars = CalendarSet()

    @property
    def pools(self) -> PipelineStub:
        return self

    @property
    def plans(self) -> PipelineStub:
        return self

    def full(self) -> list[str]:
        return self._full


@dataclass
class LoaderFixture:
    """A loader and the objects around it."""

    loader: Loader
    inbox: TimerInbox
    scheduler: TimerScheduler
    database_clock: DatabaseClock
    health: DatabaseHealth
    watchdog: Watchdog

    @property
    def window(self) -> WindowJobStore:
        return self.scheduler.window


def _fail_on_event(event: str, /, **fields: Any) -> None:
    raise AssertionError((event, fields))


def build_loader(
    store: TimerStore,
    *,
    full: Iterable[str] = (),
    warm: Warm = _warm_nothing,
    horizon: float = 60,
    poll: float = 3600,
    emit: Emit = _fail_on_event,
) -> LoaderFixture:
    """Build a loader, not started."""
    clock = SystemClock()
    database_clock = DatabaseClock(clock)
    scheduler = TimerScheduler(clock, database_clock)
    inbox = TimerInbox(scheduler)
    health = DatabaseHealth(emit, clock)
    watchdog = Watchdog(lambda: None, every=None, clock=clock, emit=emit)
    loader = Loader(
        store,
        scheduler,
        inbox,
        cast(Pipeline, PipelineStub(list(full), warm)),
        node=NodeIdentity(clock),
        database_clock=database_clock,
        health=health,
        watchdog=watchdog,
        horizon=horizon,
        poll=poll,
    )
    return LoaderFixture(loader, inbox, scheduler, database_clock, health, watchdog)


@asynccontextmanager
async def running_loader(store: TimerStore, **options: Any) -> AsyncIterator[LoaderFixture]:
    """Start a loader, and wait until it has loaded for the first time."""
    made = build_loader(store, **options)
    await made.loader.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await made.loader.loaded.wait()
        yield made
    finally:
        await made.loader.stop(1)
