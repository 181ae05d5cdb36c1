"""The network between one node and the database, which can be opened, silenced or broken."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

OPEN, SILENT, DEAF, REFUSED = "open", "silent", "deaf", "refused"


class ProxyLoop:
    """An event loop in its own thread, which runs the proxies of all nodes."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run_in_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def close(self) -> None:
        """End the thread and cancel everything that runs in it."""
        self.run_in_loop(_cancel_all_tasks())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


async def _cancel_all_tasks() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Proxy:
    """One node's path to the Unix socket of the database.

    ``silent``: no traffic passes in either direction, and no side is notified. ``deaf``: the node's
    statements arrive and are executed, but no reply returns, so that the node cannot know what was
    committed. ``refused``: no connection can be made.
    """

    def __init__(self, network: ProxyLoop, socket_path: str, host: str = "127.0.0.1") -> None:
        self._network = network
        self._host = host
        self._socket_path = socket_path
        self._mode = OPEN
        self._mark: bytes | None = None
        self._passing: asyncio.Event
        self._hearing: asyncio.Event
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.port = int(network.run_in_loop(self._start_listening()))

    async def _start_listening(self) -> int:
        self._passing, self._hearing = asyncio.Event(), asyncio.Event()
        self._passing.set()
        self._hearing.set()
        self._server = await asyncio.start_server(self._serve_connection, self._host, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening."""
        self._network.loop.call_soon_threadsafe(self._server.close)

    def set_mode(self, mode: str) -> None:
        """Set the mode. On the return to ``open``, connections that saw another mode are broken
        first.
        """
        self._network.run_in_loop(self._set_mode_in_loop(mode))

    def deafen_at(self, mark: bytes) -> None:
        """Become ``deaf`` when the node sends a message that contains ``mark``."""
        self._mark = mark

    async def _set_mode_in_loop(self, mode: str) -> None:
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

    async def _serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # A cancelled task means that the network is closed; asyncio would log it as an error.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if self._mode == REFUSED:
                return writer.transport.abort()
            up_reader, up_writer = await asyncio.open_unix_connection(self._socket_path)
            pair = (writer, up_writer)
            self._pairs.add(pair)
            tasks = [
                asyncio.create_task(self._pump_bytes(reader, up_writer, self._passing)),
                asyncio.create_task(self._pump_bytes(up_reader, writer, self._hearing)),
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

    async def _pump_bytes(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(1 << 16):
                if self._mark is not None and self._mark in chunk:
                    self._mark = None
                    await self._set_mode_in_loop(DEAF)
                await may.wait()
                writer.write(chunk)
                await writer.drain()
