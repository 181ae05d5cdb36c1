"""The HTTP server: uvicorn, within campaignd's limits and with campaignd's log."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from daemon.api.application import build_application
from daemon.api.console.live import LiveFeed
from daemon.api.ports import ApiOptions, Backend
from daemon.api.proxies import Proxies
from daemon.api.server.http_protocol import protocol_with_limits
from daemon.api.server.listening import BACKLOG
from daemon.domain.ports import Emit
from daemon.runtime.garbage import kept_from_collection

_LOG_EVERY_S = 30.0
"""Seconds between two lines about connections that could not be accepted."""
_LACKS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SHUTDOWN_S = 5
"""Seconds for requests in flight to end after a stop."""


class UvicornServer(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon handles signals.

    Construct it in the event loop that serves.
    """

    def __init__(self, config: uvicorn.Config, on_drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_drain = on_drain
        self._loop = asyncio.get_running_loop()
        self._stop_requested = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield

    async def main_loop(self) -> None:
        """Refresh the header ``Date`` each second until a stop is requested.

        uvicorn's own loop wakes ten times a second, also on an idle machine.
        """
        while not await self.on_tick(counter=0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stop_requested.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams of live pages, and wait for the requests in flight."""
        self._on_drain()
        await super().shutdown(sockets)

    def request_stop(self) -> None:
        """End ``main_loop`` at once; may be called from any thread."""
        self.should_exit = True
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._stop_requested.set)


class ApiServer:
    """One listening socket and the application behind it.

    Args:
        options: the address and the limits.
        backend: builds the handlers' dependencies; called inside the server's event loop.
        emit: receives ``api_listening`` and one event for each request.
        listening: the socket, which `serve` closes at its end.
    """

    def __init__(
        self,
        options: ApiOptions,
        backend: Callable[[], Backend],
        emit: Emit,
        listening: socket.socket,
    ) -> None:
        self._options = options
        self._backend = backend
        self._emit = emit
        self._socket = listening
        self._server: UvicornServer | None = None
        self._stop_requested = False
        self._lack_logged = -_LOG_EVERY_S

    @property
    def port(self) -> int:
        """The bound port."""
        return int(self._socket.getsockname()[1])

    async def serve(self) -> None:
        """Serve until ``stop``; then wait a few seconds for the requests in flight."""
        # uvicorn logs broken requests and errors of the application; campaignd logs both itself.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
        with kept_from_collection():
            backend = self._backend()
            live_feed = LiveFeed(backend.edits, backend.overview)
            config = self._configure(backend, live_feed)
        asyncio.get_running_loop().set_exception_handler(self._log_loop_error)
        server = self._server = UvicornServer(config, live_feed.close)
        server.should_exit = self._stop_requested
        self._emit("api_listening", host=self._options.host, port=self.port)
        try:
            await server.serve(sockets=[self._socket])
        finally:
            await backend.close()

    def _configure(self, backend: Backend, live_feed: LiveFeed) -> uvicorn.Config:
        options = self._options
        return uvicorn.Config(
            build_application(backend, options, self._emit, live_feed),
            http=protocol_with_limits(
                header_timeout=options.header_timeout,
                body_timeout=options.body_timeout,
                write_timeout=options.request_timeout,
                header_limit=options.header_limit,
                max_connections=options.max_connections,
                max_per_address=options.max_connections_per_address,
                addresses=Counter(),
                proxies=Proxies(options.trusted_proxies),
            ),
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            backlog=BACKLOG,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=round(options.keep_alive),
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )

    def _log_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log now and then that connections cannot be accepted; log other errors as before.

        asyncio reports the lack of a descriptor once for every connection that it tries to accept,
        and tries all of them again every second.
        """
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _LACKS and "socket" in context):
            loop.default_exception_handler(context)
            return
        now = time.monotonic()
        if now - self._lack_logged >= _LOG_EVERY_S:
            self._lack_logged = now
            self._emit("api_accept_failed", error=error.strerror)

    def stop(self) -> None:
        """Request a stop; may be called from any thread."""
        self._stop_requested = True
        if self._server is not None:
            self._server.request_stop()


async def serve_until(server: ApiServer, stop: asyncio.Event) -> None:
    """Serve until ``stop``, an event of the current loop, is set."""
    serving = asyncio.create_task(server.serve(), name="api")
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.stop()
        await serving
