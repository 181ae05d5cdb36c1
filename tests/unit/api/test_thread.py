"""The API's thread loads the web framework late; the port accepts clients before that."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from daemon.api.server import thread
from daemon.api.server.thread import ApiService


class OneByte:
    """A server that sends a byte to each client."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_requested = threading.Event()

    async def serve(self) -> None:
        stop = self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()

        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"!")
            writer.close()

        server = await asyncio.start_server(answer, sock=self._listening)
        if not self._stop_requested.is_set():
            await stop.wait()
        server.close()

    def stop(self) -> None:
        self._stop_requested.set()
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stop.set)


class Loading:
    """Builds the server, and counts how often."""

    def __init__(self) -> None:
        self.times = 0
        self.began, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()
        self.error: Exception | None = None

    def __call__(self, listening: socket.socket) -> OneByte:
        self.times += 1
        self.port = listening.getsockname()[1]
        self.began.set()
        self.may_end.wait()
        if self.error is not None:
            raise self.error
        return OneByte(listening)


@pytest.fixture
def loading() -> Loading:
    return Loading()


@pytest.fixture
async def service(loading: Loading, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiService]:
    """A service that is started, and that loads nothing by itself."""
    monkeypatch.setattr(thread, "LOAD_AFTER_S", 3600)
    service = ApiService("127.0.0.1", 0, loading)
    await service.start()
    yield service
    await service.stop()


def port_of(service: ApiService) -> int:
    assert service._socket is not None
    return int(service._socket.getsockname()[1])


async def test_a_client_that_connects_before_the_server_is_loaded_is_served(
    service: ApiService, loading: Loading
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(service))
    assert loading.times == 0
    service.load()
    assert await reader.read() == b"!"
    writer.close()
    assert loading.times == 1


async def test_the_server_is_loaded_though_the_daemon_is_not_ready(
    loading: Loading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes are answered while the daemon waits for its database."""
    monkeypatch.setattr(thread, "LOAD_AFTER_S", 0)
    service = ApiService("127.0.0.1", 0, loading)
    await service.start()
    await asyncio.to_thread(loading.began.wait)
    await service.stop()


async def test_a_stop_before_the_server_is_loaded_closes_the_port(
    service: ApiService, loading: Loading
) -> None:
    port = port_of(service)
    await service.stop()
    assert loading.times == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_stop_while_the_server_is_loaded_ends_it(
    service: ApiService, loading: Loading
) -> None:
    loading.may_end.clear()
    service.load()
    await asyncio.to_thread(loading.began.wait)
    stopping = asyncio.create_task(service.stop())
    await asyncio.sleep(0)
    loading.may_end.set()
    await stopping


async def test_a_server_that_cannot_be_loaded_ends_the_service(
    service: ApiService, loading: Loading
) -> None:
    loading.error = RuntimeError("no framework")
    service.load()
    task, service.task = service.task, None
    assert task is not None
    with pytest.raises(RuntimeError, match="no framework"):
        await task


def test_the_command_imports_nothing_of_the_web_framework() -> None:
    """Nor does the service that serves it, before it loads the server."""
    program = (
        "import sys, daemon.cli.commands.run, daemon.api.server.thread\n"
        "print([name for name in ('fastapi', 'starlette', 'uvicorn', 'limits', 'daemon.api_wiring')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
