"""HTTP servers: one that answers as configured and keeps every request, and hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Request:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    connection: int

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Answer = Callable[[Request, Writer], Awaitable[None]]


def answer_with(status: int, *headers: str, body: bytes = b"ok", wait: float = 0.0) -> Answer:
    """Answer with a status, at once or after ``wait`` seconds."""
    head = "".join(f"{line}\r\n" for line in (*headers, f"Content-Length: {len(body)}"))
    whole = f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body

    async def write_answer(request: Request, writer: Writer) -> None:
        if wait:
            await asyncio.sleep(wait)
        writer.write(whole)
        await writer.drain()

    return write_answer


@dataclass
class Server:
    """A server in its own thread, on its own port; ``answers`` by path."""

    answers: dict[str, Answer] = field(default_factory=dict)
    default: Answer = field(default_factory=lambda: answer_with(200))
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """The server's URL without a path."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def count_run_ids(self) -> Counter[str]:
        """Count the requests of each run."""
        return Counter(request.headers["webhook-id"] for request in list(self.requests))

    async def _serve_connection(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        number = self.connections
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    first, *lines = head.strip().split("\r\n")
                    headers: dict[str, str] = {}
                    for line in lines:
                        name, value = (part.strip() for part in line.split(":", 1))
                        earlier = headers.get(name.lower())
                        headers[name.lower()] = f"{earlier}, {value}" if earlier else value
                    body = await reader.readexactly(int(headers.get("content-length", "0")))
                    path = first.split()[1]
                    request = Request(path, headers, body, time.time(), number)
                    self.requests.append(request)
                    await self.answers.get(path, self.default)(request, writer)
            writer.close()
        finally:
            if not writer.is_closing():
                writer.transport.abort()  # A client that does not read must not hold it open.

    def __enter__(self) -> Server:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run_in_loop(
            asyncio.start_server(
                self._serve_connection,
                "127.0.0.1",
                self.port,
                backlog=1000,
                ssl=self.tls,
                limit=1 << 20,
            )
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def _run_in_loop(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            self._server.close()
            for task in set(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0.02)  # Transports close at the loop's next turns.

        self._run_in_loop(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


# Answers of hostile servers.


async def never_answers(request: Request, writer: Writer) -> None:
    """Read the request and never answer."""
    await asyncio.sleep(3600)


async def slow_headers(request: Request, writer: Writer) -> None:
    """Send one header every 50 ms, forever."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        writer.write(f"X-{number}: y\r\n".encode())
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent_after_continue(request: Request, writer: Writer) -> None:
    """Sends one interim response and no more."""
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(3600)


async def silent_in_the_head(request: Request, writer: Writer) -> None:
    """Start a good answer and stop in its head."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()
    await asyncio.sleep(3600)


async def silent_after_the_head(request: Request, writer: Writer) -> None:
    """Send the head of a good answer and no body."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(3600)


async def endless_headers(request: Request, writer: Writer) -> None:
    """Send headers as fast as the client reads them, forever."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Filler: " + b"x" * 4000 + b"\r\n")
        await writer.drain()


async def endless_header(request: Request, writer: Writer) -> None:
    """Send one header line that does not end."""
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def only_provisional(request: Request, writer: Writer) -> None:
    """Send provisional answers forever."""
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless_continue(request: Request, writer: Writer) -> None:
    """Sends interim responses as fast as the client reads, without an end."""
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)
        await writer.drain()


async def endless_responses(request: Request, writer: Writer) -> None:
    """Sends complete responses without an end."""
    while True:
        writer.write(OK * 10_000)
        await writer.drain()


async def endless_body(request: Request, writer: Writer) -> None:
    """Send a good answer whose body does not end."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()


async def endless_error_body(request: Request, writer: Writer) -> None:
    """Send a bad answer whose body does not end."""
    writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def dripping_body(request: Request, writer: Writer) -> None:
    """Send a good answer whose body comes a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def resets(request: Request, writer: Writer) -> None:
    """Close without an answer."""
    writer.transport.abort()


async def resets_in_the_body(request: Request, writer: Writer) -> None:
    """Close in the middle of a good answer."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()
    writer.transport.abort()


async def not_http(request: Request, writer: Writer) -> None:
    """Answer with bytes that are not HTTP."""
    writer.write(b"\x00\x01SSH-2.0-OpenSSH_9.9\r\n\xff\xfe" * 10)
    await writer.drain()


async def falsely_compressed(request: Request, writer: Writer) -> None:
    """Declare a body as compressed that is not."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nXXXX")
    await writer.drain()


@contextmanager
def refusing_port() -> Iterator[int]:
    """Reserve a port that refuses connections, until a ``Server`` of the test listens there."""
    import socket

    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
