"""The backlog of one target: entries that are due and not claimed yet, on time or late."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta

from daemon.domain.run.attempt import ArmedEvent, DueEntry

LATE = timedelta(seconds=5)
"""Entries due for longer are part of a backlog, after a downtime or while a target was down."""
MAX_BACKLOG = 50_000
"""Maximum entries of either kind in memory; further ones stay due in the database alone."""
MAX_BACKLOG_PAUSED = 5_000
"""The same maximum for a target whose circuit breaker is open."""


class Backlog:
    """Two queues, each oldest first; a batch takes half of each, so that neither starves.

    Late entries are late already; entries that come due while the late ones drain stay on time.
    """

    def __init__(self) -> None:
        self._on_time = _Queue()
        self._late = _Queue()
        self._turn = 0

    def __len__(self) -> int:
        return len(self._on_time) + len(self._late)

    def is_full(self, *, paused: bool) -> bool:
        """Return whether the late queue is at its maximum."""
        return len(self._late) >= (MAX_BACKLOG_PAUSED if paused else MAX_BACKLOG)

    def push(self, entries: Iterable[DueEntry], now: datetime, *, paused: bool) -> list[DueEntry]:
        """Add due entries; return those for which there is no room.

        Args:
            entries: due entries.
            now: the database clock, as far as known.
            paused: whether the target's circuit breaker is open.
        """
        late_before = now - LATE
        limit = MAX_BACKLOG_PAUSED if paused else MAX_BACKLOG
        refused: list[DueEntry] = []
        for entry in entries:
            at = entry.due_at if isinstance(entry, ArmedEvent) else entry.scheduled_for
            queue = self._late if at < late_before else self._on_time
            if len(queue) < limit:
                queue.push(at, entry)
            else:
                refused.append(entry)
        return refused

    def pop(self, count: int) -> list[DueEntry]:
        """Remove and return up to ``count`` entries, the oldest of each queue."""
        self._turn ^= 1  # an odd entry goes to the queues in turn
        late = min(len(self._late), (count + self._turn) // 2)
        popped = self._on_time.pop(count - late)
        return popped + self._late.pop(count - len(popped))

    def pop_first_attempt(self) -> ArmedEvent | None:
        """Remove and return the oldest entry without an attempt, if there is one."""
        return self._late.pop_first_attempt() or self._on_time.pop_first_attempt()


class _Queue:
    def __init__(self) -> None:
        self._entries: deque[tuple[datetime, DueEntry]] = deque()
        self._is_sorted = True

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, at: datetime, entry: DueEntry) -> None:
        if self._entries and at < self._entries[-1][0]:
            self._is_sorted = False
        self._entries.append((at, entry))

    def pop(self, count: int) -> list[DueEntry]:
        self._sort()
        return [self._entries.popleft()[1] for _ in range(min(count, len(self._entries)))]

    def pop_first_attempt(self) -> ArmedEvent | None:
        self._sort()
        for place, (_, entry) in enumerate(self._entries):
            if isinstance(entry, ArmedEvent):
                del self._entries[place]
                return entry
        return None

    def _sort(self) -> None:
        if not self._is_sorted:
            self._entries = deque(sorted(self._entries, key=lambda pair: pair[0]))
            self._is_sorted = True
