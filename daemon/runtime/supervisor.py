"""Supervision of a process: it runs until a signal ends it, or until one of its services dies."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from daemon.runtime.service import Service


class Supervisor:
    """Turns signals and dead services into one decision: go on, reload, stop or fail.

    Args:
        reload: called at SIGHUP.
    """

    def __init__(self, reload: Callable[[], Awaitable[None]]) -> None:
        self._reload = reload
        self._stop = asyncio.Event()
        self._reload_requested = asyncio.Event()

    def handle_signals(self) -> None:
        """Handle SIGTERM, SIGINT and SIGHUP; a second SIGTERM or SIGINT ends the process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._request_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload_requested.set)

    def _request_stop(self) -> None:
        self._stop.set()
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGTERM)
        loop.add_signal_handler(signal.SIGINT, self._raise_interrupt)

    def _raise_interrupt(self) -> None:
        # Raised by the event loop. Python's own handler raises between any two instructions; inside
        # the callback of a weak reference the interrupt would be printed and ignored.
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        raise KeyboardInterrupt

    @property
    def stop_requested(self) -> asyncio.Event:
        """The event that is set once a stop is requested."""
        return self._stop

    async def wait_for(self, event: asyncio.Event) -> bool:
        """Wait for an event; return False if a stop is requested first."""
        waits = [asyncio.ensure_future(each.wait()) for each in (event, self._stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not self._stop.is_set()

    async def watch(self, services: Iterable[Service]) -> tuple[Service, BaseException] | None:
        """Wait for a stop request or a dead service.

        Returns:
            None after a stop request, else the service and the error that ended it.
        """
        tasks: dict[asyncio.Future[Any], Service] = {
            service.task: service for service in services if service.task is not None
        }
        while True:
            stop: asyncio.Future[Any] = asyncio.ensure_future(self._stop.wait())
            reload: asyncio.Future[Any] = asyncio.ensure_future(self._reload_requested.wait())
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
            self._reload_requested.clear()
            await self._reload()
