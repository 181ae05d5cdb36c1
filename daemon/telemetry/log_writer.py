"""Writes finished log lines to a file descriptor, in batches, without raising or blocking."""

from __future__ import annotations

import asyncio
import atexit
import os
import select
import threading
from collections.abc import Sequence

_FULL_WAIT_S = 0.1
"""Seconds to wait for room in a full pipe before lines are dropped."""
_BATCH_SIZE = 256
"""Maximum lines in a batch."""


class LogWriter:
    """The logger that structlog wraps: its methods take a finished line.

    After `batch`, the lines of that thread are written once per iteration of its event loop, after
    those of the iteration before. A burst then costs one write instead of hundreds. Warnings and
    higher levels are written at once.
    """

    def __init__(self, descriptor: int = 2) -> None:
        self.descriptor = descriptor
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._batch: list[str] = []

    def batch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write this thread's lines in batches while ``loop`` runs."""
        self._loop, self._thread = loop, threading.get_ident()
        atexit.register(self.flush)

    def info(self, line: str) -> None:
        """Write a line, now or with its batch."""
        loop = self._loop
        if loop is None or self._thread != threading.get_ident():
            self._write([line])
            return
        if not loop.is_running():
            self._loop = None  # the loop has ended: no later iteration would write the batch
            self.flush()
            self._write([line])
            return
        if not self._batch:
            loop.call_soon(self.flush)
        self._batch.append(line)
        if len(self._batch) >= _BATCH_SIZE:
            self.flush()

    def warning(self, line: str) -> None:
        """Write a line now, after those of its batch."""
        self.info(line)
        if self._thread == threading.get_ident():
            self.flush()

    debug = info
    error = critical = warning

    def flush(self) -> None:
        """Write the batch."""
        if self._batch:
            lines, self._batch = self._batch, []
            self._write(lines)

    def _write(self, lines: Sequence[str]) -> None:
        rest = memoryview(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except BlockingIOError:
                if not select.select([], [self.descriptor], [], _FULL_WAIT_S)[1]:
                    return
            except (OSError, ValueError):  # the reader has closed its end
                return
