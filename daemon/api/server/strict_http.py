"""An h11 connection that accepts only requests whose end every server sees at the same byte.

h11 is lenient as RFC 9112 permits: lines may end without a carriage return, and Transfer-Encoding
overrides Content-Length. A proxy may read such a request differently and take a part of it for
another request. h11 also bounds only heads that arrive in pieces.
"""

from __future__ import annotations

import re
from typing import Any

import h11
from h11._receivebuffer import ReceiveBuffer

_LINE_END = b"\r\n"
_bare_line_feed = re.compile(rb"(?<!\r)\n").search


class StrictRefusal(h11.RemoteProtocolError):
    """A request that is refused; ``error_status_hint`` is the status of the response."""


class StrictConnection(h11.Connection):
    """The server's side of a connection.

    Args:
        head_limit: maximum bytes of a request's head.
    """

    refused: StrictRefusal | None = None
    """Why the connection accepts no further request."""

    def __init__(self, head_limit: int) -> None:
        super().__init__(h11.SERVER, head_limit)
        self._receive_buffer = _StrictBuffer(head_limit)

    def next_event(self) -> Any:
        """Return the next event. Raises h11.RemoteProtocolError; `refused` has the reason."""
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                _check_framing(event)
        except StrictRefusal as error:
            self.refused = error
            raise
        return event


class _StrictBuffer(ReceiveBuffer):
    """Received bytes; heads and trailers are bounded, and their lines end with CR LF."""

    def __init__(self, head_limit: int) -> None:
        super().__init__()
        self._head_limit = head_limit

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Return the lines before the first empty one, or None if it has not arrived yet."""
        received = bytes(self)
        end = len(_LINE_END)
        if not received.startswith(_LINE_END):
            found = received.find(_LINE_END * 2)
            end = len(received) if found < 0 else found + 2 * len(_LINE_END)
        if end > self._head_limit:
            raise StrictRefusal(
                f"the request's head has more than {self._head_limit} bytes", error_status_hint=431
            )
        if _bare_line_feed(received, 0, end):
            raise StrictRefusal("a line of the request's head ends without a carriage return")
        return super().maybe_extract_lines()


def _check_framing(request: h11.Request) -> None:
    """Refuse what RFC 9112, 6.1 and 6.3, calls a possible attempt to smuggle a request."""
    names = {name for name, _ in request.headers}
    if b"transfer-encoding" not in names:
        return
    if b"content-length" in names:
        raise StrictRefusal("the request has both a Content-Length and a Transfer-Encoding")
    if request.http_version < b"1.1":
        raise StrictRefusal("an HTTP/1.0 request has a Transfer-Encoding")
