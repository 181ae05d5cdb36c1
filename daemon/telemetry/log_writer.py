"""Writes finished log lines to a file descriptor, without raising and without waiting for a reader.

A thread writes, because the descriptor may block: the reader of a pipe or a terminal may stall, and
the description is shared with other processes, so that it cannot be made non-blocking.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Sequence

MAX_QUEUED = 16 << 20
"""Characters that wait for a reader at most; the lines of a burst of 20,000 runs."""
_GATHER_S = 0.01
"""Seconds in which lines gather before a write. Waking the thread for each line costs more."""
_BATCH_SIZE = 256
"""Maximum lines in a write."""
_CHUNK_SIZE = 1 << 16
"""Maximum bytes in a write; the size of a pipe."""
_FULL_WAIT_S = 0.1
"""Seconds to wait for room without the thread, if the descriptor does not block."""
_EXIT_WAIT_S = 1.0
"""Seconds that an exit waits for a reader that reads nothing."""


class LogWriter:
    """The logger that structlog wraps: its methods take a finished line.

    After `start_thread`, the methods only queue lines, and a thread writes what has gathered. A
    burst then costs one write for hundreds of lines. Lines beyond `MAX_QUEUED` are lost.

    Args:
        describe_loss: returns the line that reports a number of lost lines.
        descriptor: the file descriptor to write to.
    """

    def __init__(self, describe_loss: Callable[[int], str], descriptor: int = 2) -> None:
        self.descriptor = descriptor
        self._describe_loss = describe_loss
        self._thread: threading.Thread | None = None
        # Reentrant, because garbage collection may log in the middle of a method.
        self._lock = threading.RLock()
        self._lines: list[str] = []
        self._size = 0
        self._lost = 0
        self._progress = 0
        self._is_idle = False
        self._wake = threading.Lock()

    def start_thread(self) -> None:
        """Write in a thread from now on."""
        if self._thread is None:
            self._wake.acquire()
            self._is_idle = True
            self._thread = threading.Thread(target=self._write_queued, name="log", daemon=True)
            self._thread.start()
            atexit.register(self.flush)

    def info(self, line: str) -> None:
        """Write or queue a line."""
        self.queue([line])

    def queue(self, lines: Sequence[str]) -> None:
        """Write or queue the lines of a batch."""
        if self._thread is None:
            self._write_lines(lines, _FULL_WAIT_S)
            return
        with self._lock:
            if self._size > MAX_QUEUED:
                self._lost += len(lines)
                return
            self._lines += lines
            self._size += sum(map(len, lines))
            if self._is_idle:
                self._is_idle = False
                self._wake.release()

    debug = warning = error = critical = info

    def flush(self) -> None:
        """Wait until the queued lines are written, as long as the reader reads."""
        progress, since = self._progress, time.monotonic()
        while not self._is_idle and time.monotonic() - since < _EXIT_WAIT_S:
            time.sleep(0.001)
            if self._progress != progress:
                progress, since = self._progress, time.monotonic()

    def _write_queued(self) -> None:
        while True:
            self._wake.acquire()
            while queued := self._take_gathered():
                lines, lost = queued
                for start in range(0, len(lines), _BATCH_SIZE):
                    batch = lines[start : start + _BATCH_SIZE]
                    with contextlib.suppress(MemoryError):  # the next batch may be smaller
                        self._write_lines(batch, None)
                    with self._lock:
                        self._size -= sum(map(len, batch))
                if lost:  # the queue was full after these lines
                    self._write_lines([self._describe_loss(lost)], None)

    def _take_gathered(self) -> tuple[list[str], int] | None:
        """Let lines gather; return them and the number of lost ones, or None if there are none."""
        time.sleep(_GATHER_S)
        with self._lock:
            lines, lost = self._lines, self._lost
            if not lines and not lost:
                self._is_idle = True
                return None
            self._lines, self._lost = [], 0
            return lines, lost

    def _write_lines(self, lines: Sequence[str], patience: float | None) -> None:
        rest = memoryview(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
        while rest:
            try:
                rest = rest[os.write(self.descriptor, rest[:_CHUNK_SIZE]) :]
                self._progress += 1
            except BlockingIOError:
                if not select.select([], [self.descriptor], [], patience)[1]:
                    return
            except (OSError, ValueError):  # the reader has closed its end
                return
