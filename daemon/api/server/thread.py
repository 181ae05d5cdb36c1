"""The API in the daemon's process: a thread with an event loop of its own.

A request that computes for long does not block the daemon's event loop, because the interpreter
switches threads after ``SWITCH_INTERVAL_S``.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading

from daemon.api.server.server import ApiServer
from daemon.runtime.service import Service

SWITCH_INTERVAL_S = 0.001
"""Seconds for which a thread keeps the interpreter while another thread waits for it."""


class ApiService(Service):
    """Serves HTTP until a stop is requested."""

    name = "api"

    def __init__(self, server: ApiServer) -> None:
        super().__init__()
        self._server = server
        self._thread: threading.Thread | None = None
        self._ended = asyncio.Event()
        self._error: BaseException | None = None

    async def prepare(self) -> None:
        """Bind the port and start the thread. Raises ListenError."""
        self._server.bind()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self._ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def serve_in_thread() -> None:
            try:
                asyncio.run(self._server.serve())
            except BaseException as error:  # raised by run(), for the supervisor
                self._error = error
            finally:
                with contextlib.suppress(RuntimeError):  # the daemon's loop is gone
                    loop.call_soon_threadsafe(self._ended.set)

        self._thread = threading.Thread(target=serve_in_thread, name="api", daemon=True)
        self._thread.start()

    async def run(self) -> None:
        """Wait until a stop is requested or the thread ends; raise the error that ended it."""
        stop = asyncio.create_task(self.stopping.wait())
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({stop, ended}, return_when=asyncio.FIRST_COMPLETED)
            self._server.stop()
            await ended
        finally:
            stop.cancel()
            ended.cancel()
        if self._error is not None:
            raise self._error
