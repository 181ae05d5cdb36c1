"""Start-up waits for a database that is not there yet, up to a limit."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from daemon.domain.errors import Unavailable
from daemon.domain.ports import Emit

LONGEST_WAIT_S = 2.0


async def wait_for_database(
    begin: Callable[[], Awaitable[None]], *, timeout: float, stop: asyncio.Event, emit: Emit
) -> bool:
    """Repeat ``begin`` until it succeeds; return False if a stop is requested first.

    A stop cancels ``begin``. A database that goes away during ``begin`` is waited for like one that
    is not there yet.

    Raises:
        Unavailable: the database is still not there after ``timeout`` seconds, or it is there and
            no wait helps.
    """
    deadline = time.monotonic() + timeout
    wait, is_logged = 0.1, False
    while not stop.is_set():
        try:
            return await _await_unless_stopped(stop, begin)
        except Unavailable as error:
            if not error.retryable:
                raise
            if time.monotonic() + wait > deadline:
                raise type(error)(
                    f"no database within {timeout:g} s: {error.detail}",
                    hint="is it running, and is CAMPAIGND_DATABASE_URL right?",
                ) from error
            if not is_logged:
                emit("waiting_for_database", error=error.detail)
                is_logged = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wait)
        wait = min(wait * 2, LONGEST_WAIT_S)
    return False


async def _await_unless_stopped(stop: asyncio.Event, begin: Callable[[], Awaitable[None]]) -> bool:
    """Return whether ``begin`` ended before a stop was requested."""
    beginning = asyncio.ensure_future(begin())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({beginning, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if beginning.done():
            await beginning
            return True
        return False
    finally:
        for task in (beginning, stopped):
            task.cancel()
        await asyncio.gather(beginning, stopped, return_exceptions=True)
