"""A loader over a store of the test's, without a daemon around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from daemon.domain.run.attempt import ArmedEvent, PendingRun
from daemon.runtime.clock import SystemClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.timer.loader import Loader
from daemon.timer.scheduler import TimerScheduler
from daemon.timer.store import TimerStore

PATIENCE_S = 60


@asynccontextmanager
async def loading(
    store: TimerStore,
    *,
    is_full: bool = False,
    on_soon: Callable[[Iterable[ArmedEvent]], Awaitable[None]] | None = None,
    take: Callable[[ArmedEvent | PendingRun], None] = lambda _entry: None,
    horizon: float = 60,
    poll: float = 3600,
) -> AsyncIterator[Loader]:
    """A loader that has loaded for the first time; ``take`` is handed what comes due."""
    clock = SystemClock()

    def emit(event: str, /, **fields: Any) -> None:
        raise AssertionError((event, fields))

    alarm = TimerScheduler(take, clock)
    made = Loader(
        store, alarm, link=DatabaseHealth(emit, clock), emit=emit, horizon=horizon, poll=poll
    )
    if on_soon is not None:
        made.on_soon = on_soon
    made.is_full = lambda: is_full
    await made.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await made.loaded.wait()
        yield made
    finally:
        await made.stop(1)
