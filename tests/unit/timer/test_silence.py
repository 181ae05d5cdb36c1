"""A database that takes a question and never answers counts as away; the loop goes on turning."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daemon.runtime.clock import SystemClock
from daemon.runtime.database_health import DatabaseHealth
from daemon.timer import loader
from daemon.timer.loader import Loader
from daemon.timer.scheduler import TimerScheduler


class Silent:
    """A store whose every answer never comes."""

    def __getattr__(self, name: str) -> Any:
        async def ask(*_arguments: object, **_named: object) -> Any:
            await asyncio.Event().wait()

        return ask


async def test_silence_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Said once, tried again, and no reason for the watchdog."""
    monkeypatch.setattr(loader, "ANSWER_S", 0.01)
    told: list[str] = []
    turned = asyncio.Event()
    clock = SystemClock()

    def emit(event: str, /, **_fields: Any) -> None:
        told.append(event)

    link = DatabaseHealth(emit, clock)
    service = Loader(
        Silent(),
        TimerScheduler(lambda _entry: None, clock),
        link=link,
        emit=emit,
        horizon=60,
        poll=1,
        turned=turned.set,
    )
    await service.start()
    for _ in range(2):
        await asyncio.wait_for(turned.wait(), 60)
        turned.clear()
    assert not link.is_up
    assert link.away_for > 0
    assert told == ["database_lost"]
    await service.stop(1)


def test_the_alarm_knows_that_it_is_late() -> None:
    """Nothing held, nothing late."""
    assert TimerScheduler(lambda _entry: None, SystemClock()).late() == 0
