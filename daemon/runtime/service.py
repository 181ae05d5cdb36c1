"""The contract of long-running components: ready when started, stopped once, never a zombie."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any


class Service(ABC):
    """A named task with a stop request.

    ``start`` may be called again after ``stop``; both are idempotent. An exception that leaves
    ``run`` is kept in the task, which the supervisor watches: the daemon ends rather than go on
    without one of its services.

    Example:
        A service that does something every second::

            class Ticker(Service):
                name = "ticker"

                async def run(self) -> None:
                    while not await self.pause(1.0):
                        await self._tick()
    """

    name: str = "service"

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()

    async def start(self) -> None:
        """Start the service; return when it is ready."""
        if self.task is not None:
            return
        self.stopping.clear()
        await self.prepare()
        self.task = asyncio.create_task(self.run(), name=self.name)

    async def prepare(self) -> None:  # noqa: B027 - most services have nothing to prepare
        """Do what must succeed before the service counts as ready."""

    @abstractmethod
    async def run(self) -> None:
        """Work until ``stopping`` is set."""

    async def stop(self, grace: float | None = None) -> None:
        """Ask the service to stop and wait; cancel it after ``grace`` seconds (None: never)."""
        self.stopping.set()
        task, self.task = self.task, None
        if task is None:
            return
        _, pending = await asyncio.wait({task}, timeout=grace)
        if pending:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        elif not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def wait_for_stop(self, seconds: float) -> bool:
        """Wait, less if a stop is requested; return whether it is."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)
        return self.stopping.is_set()


async def run_concurrently(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """Run ``work`` ``count`` times at once; the first error ends all of them and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
