"""Listening: the socket is bound first, so that a taken port is told before anything is started."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator

import uvicorn

from daemon.api.application import build
from daemon.api.ports import Backend, Options
from daemon.api.server.http_protocol import bounded
from daemon.domain.errors import CampaigndError
from daemon.domain.ports import Emit

_BACKLOG = 1024
_LAST_ANSWERS_S = 5


class CanNotListen(CampaigndError):
    """The API can not listen"""

    exit_code = 2


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: signals are the daemon's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


class ApiServer:
    """One listening socket and what answers on it.

    Args:
        options: where to listen, what to allow.
        backend: makes what the handlers work with; called inside the server's event loop.
        emit: told of ``api_listening`` and of every request.
    """

    def __init__(self, options: Options, backend: Callable[[], Backend], emit: Emit) -> None:
        self._options = options
        self._backend = backend
        self._emit = emit
        self._socket: socket.socket | None = None
        self._server: _Uvicorn | None = None
        self._stop_asked = False

    def bind(self) -> None:
        """Take the port. Raises CanNotListen."""
        host, port = self._options.host, self._options.port
        try:
            found = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listening = socket.create_server(
                found[4][:2], family=found[0], backlog=_BACKLOG, reuse_port=False
            )
        except OSError as error:
            why = error.strerror or str(error)
            raise CanNotListen(
                f"can not listen on {host} port {port}: {why}",
                hint="api.host and api.port say where, 0 picks a free port",
            ) from error
        listening.setblocking(False)
        self._socket = listening

    @property
    def port(self) -> int:
        """The port that was taken."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    async def serve(self) -> None:
        """Answer until ``stop``; then let what is under way end, for a few seconds."""
        if self._socket is None:
            self.bind()
        assert self._socket is not None
        # It tells of broken requests and of what the application raised; both are told here.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
        options = self._options
        backend = self._backend()
        config = uvicorn.Config(
            build(backend, options, self._emit),
            http=bounded(
                header_timeout=options.header_timeout,
                body_timeout=options.body_timeout,
                write_timeout=options.request_timeout,
                header_limit=options.header_limit,
                max_connections=options.max_connections,
            ),
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=round(options.keep_alive),
            timeout_graceful_shutdown=_LAST_ANSWERS_S,
            h11_max_incomplete_event_size=options.header_limit,
        )
        server = self._server = _Uvicorn(config)
        server.should_exit = self._stop_asked
        self._emit("api_listening", host=options.host, port=self.port)
        try:
            await server.serve(sockets=[self._socket])
        finally:
            await backend.close()

    def stop(self) -> None:
        """Ask to stop; may be called from any thread."""
        self._stop_asked = True
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """Give the port back, if it was never served on."""
        if self._socket is not None:
            self._socket.close()


async def run_until(server: ApiServer, stop: asyncio.Event) -> None:
    """Serve until an event of this loop is set."""
    serving = asyncio.create_task(server.serve(), name="api")
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        server.stop()
        await serving
