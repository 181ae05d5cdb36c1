"""The line that a setting stands on in a TOML file, for messages.

A scan by shape: what it does not recognise (a key inside an inline table) has no line of its own
and gets that of the nearest thing around it.
"""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[+\s*([^\[\]]+?)\s*\]+\s*(?:#.*)?")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def line_of(text: str, name: tuple[str, ...]) -> int | None:
    """The 1-based line of the dotted name, or of the nearest table around it; None: not found."""
    best: tuple[int, int] | None = None  # (parts that match, line)
    section: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            here = section = _parts(header[1])
        elif key := _KEY.match(line):
            here = section + _parts(key[1])
        else:
            continue
        if name[: len(here)] == here and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best and best[1]


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
