"""A database that takes a question and never answers counts as away; the loop keeps beating."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daemon.runtime.clock import DatabaseClock, SystemClock
from daemon.timer import loader
from daemon.timer.scheduler import TimerScheduler
from tests.support.loading import build_loader


class Silent:
    """A store whose every answer never comes."""

    def __getattr__(self, name: str) -> Any:
        async def ask(*_arguments: object, **_named: object) -> Any:
            await asyncio.Event().wait()

        return ask


async def test_silence_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged once, the poll is repeated, and the watchdog is content."""
    monkeypatch.setattr(loader, "ANSWER_S", 0.01)
    events: list[str] = []
    beaten = asyncio.Event()

    def emit(event: str, /, **_fields: Any) -> None:
        events.append(event)

    made = build_loader(Silent(), poll=1, emit=emit)
    made.watchdog.on_beat.append(beaten.set)
    await made.loader.start()
    for _ in range(2):
        await asyncio.wait_for(beaten.wait(), 60)
        beaten.clear()
    assert not made.health.is_up
    assert made.health.outage_seconds > 0
    assert events == ["database_lost"]
    await made.loader.stop(1)


def test_an_empty_window_has_no_lag() -> None:
    clock = SystemClock()
    scheduler = TimerScheduler(clock, DatabaseClock(clock))
    assert scheduler.window.get_next_run_time() is None
    assert scheduler.lag() == 0
