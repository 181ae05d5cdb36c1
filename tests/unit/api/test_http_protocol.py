"""The protocol of a connection, on a real socket."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from daemon.api.server.http_protocol import bounded


async def _answer(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


async def test_an_answer_waits_for_no_confirmation() -> None:
    """Also on connections to a listening socket whose protocol is left to the system."""
    config = uvicorn.Config(_answer, http=bounded(), log_config=None, lifespan="off")
    config.load()
    state, made = ServerState(), []

    def protocol() -> asyncio.Protocol:
        made.append(bounded()(config=config, server_state=state, app_state={}))
        return made[-1]

    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = await loop.create_server(protocol, sock=listening)
        async with server:
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            theirs = made[0].transport.get_extra_info("socket")
            assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            writer.close()
