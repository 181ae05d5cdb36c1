"""HTTP/1.1 connections that nobody can hold open by being slow.

uvicorn's own protocol limits the time between requests. This one also limits the time for a
request's head and body, the time an answer may wait to be read, and the number of connections; and
says what is wrong in the form that every other error has.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from daemon.api.errors import UNAVAILABLE, raw_problem

_DISCARDED_AT_MOST = 16 * 1024 * 1024


class BoundedProtocol(H11Protocol):
    """One connection. The limits are set on a subclass, see ``bounded``."""

    header_timeout: ClassVar[float] = 10.0
    body_timeout: ClassVar[float] = 30.0
    write_timeout: ClassVar[float] = 30.0
    header_limit: ClassVar[int] = 16 * 1024
    max_connections: ClassVar[int] = 1000

    _timer: asyncio.TimerHandle | None = None
    _waits_for = ""
    _write_timer: asyncio.TimerHandle | None = None
    _discarded = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or say that there are too many."""
        at = transport.get_extra_info("socket")
        if at is not None and at.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio does so only where a listening socket was made for TCP by name. Without it
            # the second packet of an answer waits until the client has confirmed the first one,
            # which takes a client 40 ms.
            at.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.write(
                raw_problem(503, "Service Unavailable", UNAVAILABLE, "too many connections")
            )
            transport.close()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._clear()
        if self._write_timer is not None:
            self._write_timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and self.cycle.response_complete:
            # What is left of a body that was refused: read for a while, so that the client gets
            # to the answer, but not for ever.
            self._discarded += len(data)
            if self._discarded > _DISCARDED_AT_MOST:
                self.transport.abort()
                return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """An answer is written; the next request may be there already."""
        super().on_response_complete()
        self._discarded = 0
        self._watch()

    def pause_writing(self) -> None:
        """The client does not read its answer."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP, or its head is too long."""
        if self.cycle is not None and not self.cycle.response_complete:
            # In the middle of a body: whoever handles the request learns that the client is gone.
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if started:
                self.transport.close()
                return
        if len(self.conn.trailing_data[0]) > self.header_limit:
            limit = f"the request's head has more than {self.header_limit} bytes"
            self._refuse(431, "Request Header Fields Too Large", "Request head too large", limit)
        else:
            self._refuse(400, "Bad Request", "Bad Request", "this is no valid HTTP/1.1 request")

    def _refuse(self, status: int, phrase: str, message: str, detail: str) -> None:
        self._clear()
        if not self.transport.is_closing():
            self.transport.write(raw_problem(status, phrase, message, detail))
            self.transport.close()

    def _watch(self) -> None:
        """Have the one timer that the connection's state asks for; a byte does not restart it."""
        if self.transport.is_closing():
            self._clear()
            return
        theirs = self.conn.their_state
        if theirs is h11.IDLE and self.timeout_keep_alive_task is None:
            waits_for, seconds = "head", self.header_timeout
        elif theirs is h11.SEND_BODY:
            waits_for, seconds = "body", self.body_timeout
        else:
            self._clear()
            return
        if self._waits_for != waits_for:
            self._clear()
            self._waits_for = waits_for
            self._timer = self.loop.call_later(seconds, self._too_slow)

    def _clear(self) -> None:
        self._waits_for = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        waited_for, self._waits_for, self._timer = self._waits_for, "", None
        if waited_for == "head" and not self.conn.trailing_data[0]:
            self.transport.close()  # a connection that was never used
            return
        if self.cycle is not None and waited_for == "body":
            if self.cycle.response_started:
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._refuse(
            408, "Request Timeout", "Request timed out", f"the request's {waited_for} took too long"
        )


def bounded(**limits: Any) -> type[BoundedProtocol]:
    """The protocol with these limits."""
    return type("Protocol", (BoundedProtocol,), limits)
