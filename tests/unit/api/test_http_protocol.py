"""The HTTP protocol of a connection, on a real socket."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from daemon.api.server.http_protocol import protocol_with_limits


async def _respond(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


async def test_a_response_does_not_wait_for_an_acknowledgement() -> None:
    """The option is also set if the listening socket was created without a protocol."""
    config = uvicorn.Config(_respond, http=protocol_with_limits(), log_config=None, lifespan="off")
    config.load()
    state, protocols = ServerState(), []

    def protocol() -> asyncio.Protocol:
        protocols.append(protocol_with_limits()(config=config, server_state=state, app_state={}))
        return protocols[-1]

    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = await loop.create_server(protocol, sock=listening)
        async with server:
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            accepted = protocols[0].transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            writer.close()
