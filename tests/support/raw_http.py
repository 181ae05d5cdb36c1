"""HTTP by hand, for requests that no client library sends."""

from __future__ import annotations

import contextlib
import json
import socket

from daemon.domain.api_keys import Scope
from tests.support.api_server import TIMEOUT_S, RunningApi


def connect_and_send(api: RunningApi, text: bytes = b"") -> socket.socket:
    """Return a connection on which `text` was sent."""
    connection = socket.create_connection(("127.0.0.1", api.port), timeout=TIMEOUT_S)
    if text:
        connection.sendall(text)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Return the bytes that the server sends until it closes the connection."""
    with connection:
        chunks = []
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                chunks.append(chunk)
        return b"".join(chunks)


def status_of(response: bytes) -> int:
    """Return the status of a raw response whose body is an error."""
    head, _, body = response.partition(b"\r\n\r\n")
    assert json.loads(body).keys() >= {"message", "detail"}
    return int(head.split()[1])


def unfinished_post(api: RunningApi, more: bytes = b"") -> bytes:
    """Return the head of a POST without its end."""
    key = api.keys[Scope.WRITE].encode()
    return (
        b"POST /api/v1/campaigns HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
        + key
        + b"\r\nContent-Type: application/json"
        + more
    )
