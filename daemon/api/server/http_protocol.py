"""HTTP/1.1 connections with limits that slow clients cannot exceed.

uvicorn's own protocol limits the time between requests. This protocol also limits the time in which
a request's head and body arrive, and the time in which the client reads a response. It limits the
number of connections too. Its errors have the form of all other errors.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from daemon.api.errors import UNAVAILABLE, problem_bytes
from daemon.api.proxies import Proxies
from daemon.api.server.strict_http import StrictConnection

_DISCARD_LIMIT = 16 * 1024 * 1024
"""Bytes of a refused body that are read and dropped before the connection is closed."""


class BoundedProtocol(H11Protocol):
    """One connection. ``protocol_with_limits`` returns a subclass with other limits."""

    conn: StrictConnection

    header_timeout: ClassVar[float] = 10.0
    body_timeout: ClassVar[float] = 30.0
    write_timeout: ClassVar[float] = 30.0
    header_limit: ClassVar[int] = 16 * 1024
    max_connections: ClassVar[int] = 1000
    max_per_address: ClassVar[int] = 500
    proxies: ClassVar[Proxies] = Proxies()
    addresses: ClassVar[Counter[str]] = Counter()
    """Open connections by address."""

    _timer: asyncio.TimerHandle | None = None
    _awaited = ""
    _write_timer: asyncio.TimerHandle | None = None
    _discarded = 0
    _address = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = StrictConnection(self.header_limit)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or refuse it with a 503 when there are too many."""
        accepted = transport.get_extra_info("socket")
        if accepted is not None and accepted.family in (socket.AF_INET, socket.AF_INET6):
            # asyncio sets this option only if the listening socket was created with the protocol
            # TCP. Without the option, the second packet of a response waits until the client
            # acknowledges the first one, which takes 40 ms.
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.addresses[self._address] += 1
        refusal = ""
        if len(self.connections) > self.max_connections:
            refusal = "too many connections"
        elif self.addresses[self._address] > self.max_per_address and not self.proxies.is_trusted(
            self._address
        ):
            refusal = "too many connections of one address"
        if refusal:
            transport.write(problem_bytes(503, "Service Unavailable", UNAVAILABLE, refusal))
            transport.close()
            return
        self._start_receive_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers, and release the connection's place of its address."""
        self._cancel_receive_deadline()
        if self._write_timer is not None:
            self._write_timer.cancel()
        self._unset_keepalive_if_required()
        self.addresses[self._address] -= 1
        if self.addresses[self._address] <= 0:
            del self.addresses[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive bytes of a request."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and self.cycle.response_complete:
            # The rest of a refused body is read up to a limit, so that a client that first sends
            # its whole body also reads the response.
            self._discarded += len(data)
            if self._discarded > _DISCARD_LIMIT:
                self.transport.abort()
                return
        super().data_received(data)
        self._start_receive_deadline()

    def on_response_complete(self) -> None:
        """Continue after a response; the next request may have been received already."""
        super().on_response_complete()
        self._discarded = 0
        self._start_receive_deadline()

    def pause_writing(self) -> None:
        """Start the timer of a client that does not read its response."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the timer when the client reads again."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are not HTTP, or that `StrictConnection` refuses."""
        if self.cycle is not None and not self.cycle.response_complete:
            # In the middle of a body: the request's handler sees a client that has disconnected.
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if started:
                self.transport.close()
                return
        refused = self.conn.refused
        detail = str(refused) if refused else "the request is not valid HTTP/1.1"
        if refused and refused.error_status_hint == 431:
            self._refuse_request(
                431, "Request Header Fields Too Large", "Request head too large", detail
            )
        else:
            self._refuse_request(400, "Bad Request", "Bad Request", detail)

    def _refuse_request(self, status: int, phrase: str, message: str, detail: str) -> None:
        self._cancel_receive_deadline()
        if not self.transport.is_closing():
            self.transport.write(problem_bytes(status, phrase, message, detail))
            self.transport.close()

    def _start_receive_deadline(self) -> None:
        """Run the one timer that belongs to the connection's state; a byte does not restart it."""
        if self.transport.is_closing():
            self._cancel_receive_deadline()
            return
        theirs = self.conn.their_state
        if theirs is h11.IDLE and self.timeout_keep_alive_task is None:
            awaited, seconds = "head", self.header_timeout
        elif theirs is h11.SEND_BODY:
            awaited, seconds = "body", self.body_timeout
        else:
            self._cancel_receive_deadline()
            return
        if self._awaited != awaited:
            self._cancel_receive_deadline()
            self._awaited = awaited
            self._timer = self.loop.call_later(seconds, self._end_slow_request)

    def _cancel_receive_deadline(self) -> None:
        self._awaited = ""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_slow_request(self) -> None:
        awaited, self._awaited, self._timer = self._awaited, "", None
        if awaited == "head" and not self.conn.trailing_data[0]:
            self.transport.close()  # no byte was received
            return
        if self.cycle is not None and awaited == "body":
            if self.cycle.response_started:
                self.transport.abort()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._refuse_request(
            408, "Request Timeout", "Request timed out", f"the request's {awaited} took too long"
        )


def protocol_with_limits(**limits: Any) -> type[BoundedProtocol]:
    """Return the protocol with these limits."""
    return type("Protocol", (BoundedProtocol,), limits)
