"""Counts and distributions that cost next to nothing to add to, whoever reads them and when.

Thousands of runs a second are counted, by the thread that fires and the API's; a scrape reads now
and then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from threading import Lock

Labels = tuple[str, ...]

MOST_SERIES = 1000
"""Label values come from outside (a campaign's target): further ones are counted together."""
OTHER = "(other)"


class Tally:
    """How many, for each set of labels."""

    def __init__(self) -> None:
        self._counts: dict[Labels, float] = {}
        self._lock = Lock()

    def add(self, labels: Labels, many: float = 1) -> None:
        """Count."""
        with self._lock:
            if labels not in self._counts and len(self._counts) >= MOST_SERIES:
                labels = (OTHER,) * len(labels)
            self._counts[labels] = self._counts.get(labels, 0) + many

    def items(self) -> list[tuple[Labels, float]]:
        """Every count so far."""
        return list(self._counts.items())


class Spread:
    """How values are distributed over buckets, for each set of labels."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._rows: dict[Labels, tuple[list[int], list[float]]] = {}

    def expect(self, labels: Labels) -> tuple[list[int], list[float]]:
        """The row of these labels, empty if there was none: a rise from 0 can be seen."""
        row = self._rows.get(labels)
        if row is None:
            if len(self._rows) >= MOST_SERIES:
                labels = (OTHER,) * len(labels)
            empty: tuple[list[int], list[float]] = ([0] * (len(self._bounds) + 1), [0.0])
            row = self._rows.setdefault(labels, empty)
        return row

    def add(self, labels: Labels, value: float) -> None:
        """Put a value into its bucket."""
        counts, total = self.expect(labels)
        counts[bisect_left(self._bounds, value)] += 1
        total[0] += value

    def items(self) -> Iterator[tuple[Labels, list[tuple[str, float]], float]]:
        """Labels, buckets with how many values are at most their bound, and the sum."""
        for labels, (counts, total) in list(self._rows.items()):
            below, buckets = 0, []
            for bound, count in zip((*self._bounds, float("inf")), list(counts), strict=True):
                below += count
                buckets.append(("+Inf" if bound == float("inf") else str(bound), float(below)))
            yield labels, buckets, total[0]
