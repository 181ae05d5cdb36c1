"""Runs until told to stop, or until a part of the daemon dies."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from daemon.runtime.service import Service


class Supervisor:
    """Signals in, one decision out: keep on, reload, stop, or fail."""

    def __init__(self, reload: Callable[[], Awaitable[None]]) -> None:
        self._reload = reload
        self._stop = asyncio.Event()
        self._reload_asked = asyncio.Event()

    def install(self) -> None:
        """Take SIGTERM, SIGINT and SIGHUP. A second of the first two is the default: at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked)
        loop.add_signal_handler(signal.SIGHUP, self._reload_asked.set)

    def _asked(self) -> None:
        self._stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(each)

    def stop(self) -> None:
        """The same as a SIGTERM."""
        self._stop.set()

    @property
    def stop_asked(self) -> asyncio.Event:
        """Set once a stop was asked for."""
        return self._stop

    async def wait_for(self, event: asyncio.Event) -> bool:
        """Wait for an event; False if asked to stop first."""
        waits = [asyncio.ensure_future(each.wait()) for each in (event, self._stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not self._stop.is_set()

    async def watch(self, services: Iterable[Service]) -> tuple[Service, BaseException] | None:
        """Until asked to stop: None. Until a service dies: which one, and of what."""
        tasks: dict[asyncio.Future[Any], Service] = {
            service.task: service for service in services if service.task is not None
        }
        while True:
            stop: asyncio.Future[Any] = asyncio.ensure_future(self._stop.wait())
            reload: asyncio.Future[Any] = asyncio.ensure_future(self._reload_asked.wait())
            try:
                ended, _ = await asyncio.wait(
                    {*tasks, stop, reload},
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                stop.cancel()
                reload.cancel()
            for task in ended:
                if (service := tasks.get(task)) is not None:
                    error = task.exception() if not task.cancelled() else None
                    return service, error or RuntimeError(f"{service.name} ended by itself")
            if stop in ended:
                return None
            self._reload_asked.clear()
            await self._reload()
