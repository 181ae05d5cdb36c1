"""The attempts in flight: claimed by this node, outcome not written yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from daemon.domain.run.attempt import Attempt, AttemptKey


class InFlight:
    """One attempt for each run, in the order of their claims.

    The pool adds an attempt when it is dispatched; the completer removes it when its outcome is
    written. A newer attempt of a run takes the place of an older one, which then no longer counts
    as in flight.
    """

    def __init__(self) -> None:
        self._attempts: dict[AttemptKey, Attempt] = {}
        self._started: set[AttemptKey] = set()
        self._blocked: set[AttemptKey] = set()
        """Attempts that have ended and give their place to others."""
        self._per_target: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._attempts)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self._attempts.values())

    def __contains__(self, attempt: object) -> bool:
        return isinstance(attempt, Attempt) and self._attempts.get(attempt.key) is attempt

    def find(self, key: AttemptKey) -> Attempt | None:
        """Return the attempt of a run that is in flight."""
        return self._attempts.get(key)

    def keys(self) -> set[AttemptKey]:
        """Return the keys of all attempts in flight."""
        return set(self._attempts)

    def count(self, target: str) -> int:
        """Return how many attempts of a target are in flight and not blocked."""
        return self._per_target[target]

    def add(self, attempts: Iterable[Attempt]) -> None:
        """Add attempts that were just claimed."""
        for attempt in attempts:
            key = attempt.campaign_id, attempt.scheduled_for
            if key in self._attempts:
                self.remove([self._attempts[key]])
            self._attempts[key] = attempt
            self._per_target[attempt.target] += 1

    def start(self, attempts: Iterable[Attempt]) -> None:
        """Note that the target is asked to carry out these attempts now."""
        self._started.update((attempt.campaign_id, attempt.scheduled_for) for attempt in attempts)

    def take_back(self, attempt: Attempt) -> None:
        """Note that the target was not reached, so the attempt has not started."""
        self._started.discard(attempt.key)

    def has_started(self, attempt: Attempt) -> bool:
        """Return whether the target was asked to carry out the attempt."""
        return attempt in self and attempt.key in self._started

    def block(self, attempt: Attempt) -> None:
        """Note that the attempt has ended, and that a lock keeps its outcome from being written.

        It no longer counts for its target, so that locked campaigns do not delay others.
        """
        if attempt in self and attempt.key not in self._blocked:
            self._blocked.add(attempt.key)
            self._per_target[attempt.target] -= 1

    def remove(self, attempts: Iterable[Attempt]) -> None:
        """Remove attempts whose outcome is written, or that belong to another node now."""
        for attempt in attempts:
            key = attempt.campaign_id, attempt.scheduled_for
            if self._attempts.get(key) is attempt:
                del self._attempts[key]
                self._started.discard(key)
                if key in self._blocked:
                    self._blocked.discard(key)
                else:
                    self._per_target[attempt.target] -= 1

    def oldest_claim_at(self) -> datetime | None:
        """Return when the attempt that is longest in flight was claimed, by the database clock."""
        oldest = next(iter(self._attempts.values()), None)
        return None if oldest is None else oldest.claimed_at
