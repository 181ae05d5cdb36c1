"""The loop of the HTTP server: it wakes once a second, and ends at once at a stop."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvicorn

from daemon.api.server.server import UvicornServer


async def test_a_stop_from_another_thread_ends_the_loop_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop does not finish its second, and ticks only before and after the wait."""
    server = UvicornServer(uvicorn.Config(app="none"), on_drain=lambda: None)
    ticks = []
    ticked = asyncio.Event()
    on_tick = server.on_tick

    async def counted(counter: int) -> bool:
        ticks.append(counter)
        ticked.set()
        return await on_tick(counter)

    monkeypatch.setattr(server, "on_tick", counted)
    began = time.monotonic()
    serving = asyncio.create_task(server.main_loop())
    await ticked.wait()
    await asyncio.to_thread(server.request_stop)
    await serving
    assert time.monotonic() - began < 0.9
    assert len(ticks) == 2
    assert server.server_state.default_headers[0][0] == b"date"
