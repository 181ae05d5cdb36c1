"""The API in the daemon's process: a thread with an event loop of its own.

A request that computes for long does not block the daemon's event loop, because the interpreter
switches threads after ``SWITCH_INTERVAL_S``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from daemon.api.server.listening import listen
from daemon.runtime.garbage import kept_from_collection
from daemon.runtime.service import Service

SWITCH_INTERVAL_S = 0.001
"""Seconds for which a thread keeps the interpreter while another thread waits for it."""
LOAD_AFTER_S = 2.0
"""Seconds after which the server is loaded though the daemon is not ready, as /readyz reports."""


class Server(Protocol):
    """An `ApiServer`, whose module takes long to import."""

    async def serve(self) -> None:
        """Serve until ``stop``."""
        ...

    def stop(self) -> None:
        """Request a stop; may be called from any thread."""
        ...


class ApiService(Service):
    """Serves HTTP until a stop is requested.

    Importing the web framework and building the application take as long as the rest of a start.
    The thread does both, once the daemon is ready. Clients that connect before wait for it.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        load: imports and builds the server of a listening socket; called in the thread.
    """

    name = "api"

    def __init__(self, host: str, port: int, load: Callable[[socket.socket], Server]) -> None:
        super().__init__()
        self._address = host, port
        self._load = load
        self._socket: socket.socket | None = None
        self._server: Server | None = None
        self._may_load = asyncio.Event()
        self._ended = asyncio.Event()
        self._error: BaseException | None = None

    def load(self) -> None:
        """Load the server now."""
        self._may_load.set()

    async def prepare(self) -> None:
        """Bind the port. Raises ListenError."""
        self._socket = listen(*self._address)

    async def run(self) -> None:
        """Serve until a stop is requested or the thread ends; raise the error that ended it."""
        assert self._socket is not None
        with contextlib.closing(self._socket):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOAD_AFTER_S):
                    await self._may_load.wait()
            if not self.stopping.is_set():
                await self._serve_in_thread(self._socket)
        if self._error is not None:
            raise self._error

    async def stop(self, grace: float | None = None) -> None:
        """Stop serving; requests in flight end within seconds."""
        self.stopping.set()
        self.load()
        if self._server is not None:
            self._server.stop()
        await super().stop(grace)

    async def _serve_in_thread(self, listening: socket.socket) -> None:
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        loop = asyncio.get_running_loop()

        def serve_in_thread() -> None:
            try:
                with kept_from_collection():
                    server = self._server = self._load(listening)
                if self.stopping.is_set():  # while the server was loaded
                    server.stop()
                asyncio.run(server.serve())
            except BaseException as error:  # raised by run(), for the supervisor
                self._error = error
            finally:
                with contextlib.suppress(RuntimeError):  # the daemon's loop is gone
                    loop.call_soon_threadsafe(self._ended.set)

        threading.Thread(target=serve_in_thread, name="api", daemon=True).start()
        await self._ended.wait()
