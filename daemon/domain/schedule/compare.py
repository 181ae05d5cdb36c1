"""The comparison of two lists of occurrences: what stays, changes, moves, appears and vanishes.

The old list without what vanishes, with what appears, and with the moves and changes applied, is
the new list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import islice, takewhile
from typing import NamedTuple

from daemon.domain.schedule.gate import Gate
from daemon.domain.schedule.gated_occurrences import GatedOccurrence, occurrences_after
from daemon.domain.schedule.schedule import Schedule

MOST_COMPARED = 10_000
"""Maximum occurrences of each side."""


class Pair(NamedTuple):
    """An occurrence as it was, and as it will be."""

    was: GatedOccurrence
    now: GatedOccurrence


class Comparison(NamedTuple):
    """The comparison of an old list with a new one, each part in order."""

    same: int = 0
    changes: tuple[Pair, ...] = ()
    moves: tuple[Pair, ...] = ()
    appears: tuple[GatedOccurrence, ...] = ()
    vanishes: tuple[GatedOccurrence, ...] = ()
    truncated: bool = False
    """Whether a side has more occurrences than are compared."""

    @property
    def summary(self) -> dict[str, int]:
        """Return the counts by name."""
        return {
            "same": self.same,
            "changes": len(self.changes),
            "moves": len(self.moves),
            "appears": len(self.appears),
            "vanishes": len(self.vanishes),
        }


def occurrences_until(
    schedule: Schedule | None, gate: Gate | None, after: datetime, until: datetime
) -> list[GatedOccurrence]:
    """Return the occurrences after an instant until another, one more than are compared at most."""
    if schedule is None:
        return []
    coming = takewhile(
        lambda each: each.scheduled_for <= until, occurrences_after(schedule, gate, after)
    )
    return list(islice(coming, MOST_COMPARED + 1))


def compare(old: Sequence[GatedOccurrence], new: Sequence[GatedOccurrence]) -> Comparison:
    """Compare two lists, each in order of `scheduled_for`.

    Of what has no partner at the same instant, an old and a new occurrence are a move if each is
    the only one left of its local date.
    """
    truncated = max(len(old), len(new)) > MOST_COMPARED
    before = {each.scheduled_for: each for each in old[:MOST_COMPARED]}
    after = {each.scheduled_for: each for each in new[:MOST_COMPARED]}
    both = [Pair(before[at], after[at]) for at in before if at in after]
    changes = tuple(pair for pair in both if _outcome(pair.was) != _outcome(pair.now))
    gone = [each for at, each in before.items() if at not in after]
    come = [each for at, each in after.items() if at not in before]
    gone_by_date, come_by_date = _by_local_date(gone), _by_local_date(come)
    moves = tuple(
        Pair(was[0], now[0])
        for day, was in gone_by_date.items()
        if len(was) == 1 and len(now := come_by_date.get(day, [])) == 1
    )
    moved = {each.scheduled_for for pair in moves for each in pair}
    return Comparison(
        len(both) - len(changes),
        changes,
        moves,
        tuple(each for each in come if each.scheduled_for not in moved),
        tuple(each for each in gone if each.scheduled_for not in moved),
        truncated,
    )


def _outcome(each: GatedOccurrence) -> tuple[datetime, str]:
    return each.due_at, each.disposition


def _by_local_date(each: Iterable[GatedOccurrence]) -> dict[date, list[GatedOccurrence]]:
    found: dict[date, list[GatedOccurrence]] = defaultdict(list)
    for one in each:
        found[one.local.date()].append(one)
    return found
