"""The result of an import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

MAX_BAD_LINES = 100
"""Maximum bad lines that a report lists; the count has all of them."""


class UnloadedLine(NamedTuple):
    """A line that was not loaded; lines count from 1."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Number of lines by result, and the first bad lines with their reasons."""

    loaded: int
    unchanged: int
    updated: int
    bad: int
    bad_lines: tuple[UnloadedLine, ...] = ()
