"""The network between one node and the database: it passes on, falls silent, or breaks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

OPEN, SILENT, DEAF, REFUSED = "open", "silent", "deaf", "refused"


class Network:
    """An event loop in a thread of its own, with one proxy for each node."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run something there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def close(self) -> None:
        """End the thread, with whatever still runs in it."""
        self.call(_cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Proxy:
    """One node's way to the database's Unix socket.

    ``silent``: nothing passes, either way, and nobody is told. ``deaf``: what the node says arrives
    and is carried out, but no answer comes back, so that nobody knows what was committed.
    ``refused``: no connection can be made.
    """

    def __init__(self, network: Network, socket_path: str, host: str = "127.0.0.1") -> None:
        self._network = network
        self._host = host
        self._socket_path = socket_path
        self._mode = OPEN
        self._mark: bytes | None = None
        self._passing: asyncio.Event
        self._hearing: asyncio.Event
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.port = int(network.call(self._start()))

    async def _start(self) -> int:
        self._passing, self._hearing = asyncio.Event(), asyncio.Event()
        self._passing.set()
        self._hearing.set()
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        self._network.loop.call_soon_threadsafe(self._server.close)

    def set(self, mode: str) -> None:
        """From now on. Back to ``open``, connections that saw anything else are broken first."""
        self._network.call(self._set(mode))

    def deafen_at(self, mark: bytes) -> None:
        """``deaf`` from the moment when the node says something with this in it."""
        self._mark = mark

    async def _set(self, mode: str) -> None:
        if self._mode != OPEN or mode == REFUSED:
            for pair in list(self._pairs):
                for writer in pair:
                    writer.transport.abort()
        self._mode = mode
        for event, holds in ((self._passing, mode != SILENT), (self._hearing, mode == OPEN)):
            if holds:
                event.set()
            else:
                event.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled: the network is closed, and asyncio would log that as a fault.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if self._mode == REFUSED:
                return writer.transport.abort()
            up_reader, up_writer = await asyncio.open_unix_connection(self._socket_path)
            pair = (writer, up_writer)
            self._pairs.add(pair)
            tasks = [
                asyncio.create_task(self._pump(reader, up_writer, self._passing)),
                asyncio.create_task(self._pump(up_reader, writer, self._hearing)),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._pairs.discard(pair)
                for task in tasks:
                    task.cancel()
                for each in pair:
                    each.transport.abort()
        writer.transport.abort()
        return None

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 16):
                if self._mark is not None and self._mark in chunk:
                    self._mark = None
                    await self._set(DEAF)
                await may.wait()
                writer.write(chunk)
                await writer.drain()
