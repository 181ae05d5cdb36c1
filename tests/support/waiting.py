"""Waits for conditions, each with a deadline, and what they need."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

POLL_EVERY_S = 0.02
PATIENCE_S = 60.0
"""Seconds until a wait fails: longer than anything takes on the slowest and busiest machine."""


def utc_now() -> datetime:
    """Return this machine's time, which is the database server's in these tests too."""
    return datetime.now(UTC)


def free_port() -> int:
    """Return an unused port, outside the range of ports that outgoing connections get."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(what: str, holds: Callable[[], object], within: float = PATIENCE_S) -> Any:
    """Return the first true value of ``holds``; fail after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not (value := holds()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(POLL_EVERY_S)
    return value


async def spin_until(holds: Callable[[], bool]) -> None:
    """Let the event loop run until something holds; fail after a minute."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - conditions over what others do, not events
            await asyncio.sleep(0)
