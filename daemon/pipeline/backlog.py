"""What is due for one target and not claimed yet: what is on time beside what is late."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from daemon.domain.run.attempt import ArmedEvent, PendingRun

LATE = timedelta(seconds=5)
"""What is due for longer is of a backlog, after a downtime or for a target that was down."""
AT_MOST = 50_000
"""Entries kept in memory of either kind; more stay due in the database alone."""
AT_MOST_PAUSED = 5_000
"""The same for a target that pauses."""


class Backlog:
    """Two queues, each oldest first; a batch takes half of each, so that neither starves.

    A backlog is late already. What comes due while it drains need not become so.
    """

    def __init__(self) -> None:
        self._on_time = _Queue()
        self._late = _Queue()
        self._turn = 0

    def __len__(self) -> int:
        return len(self._on_time) + len(self._late)

    def is_full(self, *, paused: bool) -> bool:
        """Whether as much of a backlog is here as is kept in memory."""
        return len(self._late) >= (AT_MOST_PAUSED if paused else AT_MOST)

    def add(self, entry: ArmedEvent | PendingRun, now: datetime | None, *, paused: bool) -> bool:
        """Take an entry; False if too many wait already.

        Args:
            entry: what is due.
            now: by the database's clock, as far as known; None if nothing is late.
            paused: whether the target pauses.
        """
        at = _instant_of(entry)
        queue = self._late if now is not None and now - at > LATE else self._on_time
        if len(queue) >= (AT_MOST_PAUSED if paused else AT_MOST):
            return False
        queue.add(at, entry)
        return True

    def take(self, count: int) -> list[ArmedEvent | PendingRun]:
        """Up to ``count``, the oldest of either kind."""
        self._turn ^= 1  # of an odd number, now the one has more, now the other
        late = min(len(self._late), (count + self._turn) // 2)
        taken = self._on_time.take(count - late)
        return taken + self._late.take(count - len(taken))

    def take_untried(self) -> ArmedEvent | None:
        """The oldest that was not tried yet."""
        return self._late.take_untried() or self._on_time.take_untried()


class _Queue:
    def __init__(self) -> None:
        self._entries: deque[tuple[datetime, ArmedEvent | PendingRun]] = deque()
        self._is_sorted = True

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, at: datetime, entry: ArmedEvent | PendingRun) -> None:
        if self._entries and at < self._entries[-1][0]:
            self._is_sorted = False
        self._entries.append((at, entry))

    def take(self, count: int) -> list[ArmedEvent | PendingRun]:
        self._sort()
        return [self._entries.popleft()[1] for _ in range(min(count, len(self._entries)))]

    def take_untried(self) -> ArmedEvent | None:
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


def _instant_of(entry: ArmedEvent | PendingRun) -> datetime:
    return entry.event.at if isinstance(entry, ArmedEvent) else entry.scheduled_for
