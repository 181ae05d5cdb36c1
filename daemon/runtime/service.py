"""The contract of every long-running part: ready when started, stopped once, never a zombie."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any


class Service(ABC):
    """A named task with a stop request.

    ``start`` may be called again after ``stop``; both are idempotent. An exception that leaves
    ``run`` is kept in the task, which the supervisor watches: it ends the daemon rather than leave
    a zombie.
    """

    name: str = "service"

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.stopping = asyncio.Event()

    async def start(self) -> None:
        """Begin; returns when the service is ready."""
        if self.task is not None:
            return
        self.stopping.clear()
        await self.prepare()
        self.task = asyncio.create_task(self.run(), name=self.name)

    async def prepare(self) -> None:  # noqa: B027 - most services have nothing to prepare
        """What must have succeeded before the service counts as ready."""

    @abstractmethod
    async def run(self) -> None:
        """Work until ``stopping`` is set."""

    async def stop(self, grace: float | None = None) -> None:
        """Ask to stop and wait; after ``grace`` seconds (None: for ever) cancel."""
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

    async def pause(self, seconds: float) -> bool:
        """Wait, or less if asked to stop; True if asked to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)
        return self.stopping.is_set()


async def run_concurrently(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """Do ``work`` so many times at once; an error of one ends all, and is what is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
