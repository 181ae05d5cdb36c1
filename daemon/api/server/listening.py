"""The listening socket: bound before anything else, so that a port in use stops the start at once.

From then on the system accepts connections, and they wait until the server takes them.
"""

from __future__ import annotations

import socket

from daemon.domain.errors import CampaigndError

BACKLOG = 128
"""Connections that wait to be accepted, and that are accepted at a time."""


class ListenError(CampaigndError):
    """The API cannot listen"""

    exit_code = 2


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address. Raises ListenError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(
            found[4][:2], family=found[0], backlog=BACKLOG, reuse_port=False
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise ListenError(
            f"cannot listen on {host} port {port}: {reason}",
            hint="set api.host and api.port to another address; port 0 selects a free port",
        ) from error
    listening.setblocking(False)
    return listening
