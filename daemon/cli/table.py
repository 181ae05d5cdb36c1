"""Draws the tables of all commands, on terminals of any width and in pipes.

A table that does not fit moves its columns of second rank to a dim line below each row. If it still
does not fit, names and errors are shortened. An instant or an id is never cut.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from daemon.cli.screen import Screen

_GAP = "  "
_INDENT = "    "
_SHORTEST = 12
"""Columns that a shortened cell keeps."""
SHORT_ID = 8
"""Characters of a run's id that are shown; every command accepts them while they are unique."""


@dataclass(frozen=True)
class Column:
    """The heading of a column, and how its cells may give way.

    Attributes:
        heading: the heading; on a second line it precedes the cell.
        is_second: whether the column moves to the second line of a row that is too long.
        can_shrink: whether a cell may be shortened; only for names and errors.
        is_outcome: whether a cell has the colour of its word.
    """

    heading: str
    is_second: bool = False
    can_shrink: bool = False
    is_outcome: bool = False


def cell_text(value: object, screen: Screen) -> str:
    """Return a cell on one line: no name may break a table or move the cursor."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        # A naive datetime is a clock time that needs no zone.
        return screen.instant(value) if value.tzinfo is not None else value.isoformat(" ")
    if isinstance(value, UUID):
        return str(value)[: SHORT_ID if screen.has_short_ids else None]
    text = str(value.value if isinstance(value, Enum) else value)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def table_lines(
    columns: Sequence[Column], rows: Sequence[Sequence[object]], screen: Screen
) -> Iterator[str]:
    """Yield the lines of a table, the heading first."""
    texts = [[cell_text(cell, screen) for cell in row] for row in rows]
    shown = list(range(len(columns)))
    widths = [
        max(_width(text) for text in (column.heading, *(row[index] for row in texts)))
        for index, column in enumerate(columns)
    ]
    if screen.width is not None:
        second = [index for index in shown if columns[index].is_second]
        while second and _total(widths, shown) > screen.width:
            shown.remove(second.pop())
        _shrink(widths, shown, columns, screen.width)
    headings = [column.heading for column in columns]
    yield screen.style(_line(headings, shown, widths), "bold")
    for row in texts:
        yield _line(row, shown, widths, columns, screen)
        rest = [
            f"{columns[index].heading} {text}"
            for index, text in enumerate(row)
            if index not in shown and text != "-"
        ]
        for line in _wrapped(" · ".join(rest), screen, _INDENT):
            yield screen.style(line, "dim")


def field_lines(fields: Sequence[tuple[str, object]], screen: Screen) -> Iterator[str]:
    """Yield the lines of named values; a long value goes on below its beginning."""
    width = max((_width(name) for name, _ in fields), default=0)
    for name, value in fields:
        first, *more = _wrapped(cell_text(value, screen), screen, " " * (width + len(_GAP)))
        text = screen.style(first.lstrip(), str(value)) if name in _OUTCOMES else first.lstrip()
        yield screen.style(name, "dim") + " " * (width - _width(name)) + _GAP + text
        yield from more


_OUTCOMES = frozenset({"status", "state"})


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[index] for index in shown) + len(_GAP) * (len(shown) - 1)


def _shrink(widths: list[int], shown: Sequence[int], columns: Sequence[Column], limit: int) -> None:
    """Shorten the widest columns that may, until the line fits or none may any more."""
    able = [index for index in shown if columns[index].can_shrink]
    while (over := _total(widths, shown) - limit) > 0:
        widest = max(able, key=lambda index: widths[index], default=None)
        if widest is None or widths[widest] <= _SHORTEST:
            return
        widths[widest] = max(_SHORTEST, widths[widest] - over)


def _line(
    texts: Sequence[str],
    shown: Sequence[int],
    widths: Sequence[int],
    columns: Sequence[Column] = (),
    screen: Screen | None = None,
) -> str:
    cells = []
    for index in shown:
        text = fitted(texts[index], widths[index])
        if screen is not None and columns[index].is_outcome:
            word = text.rstrip()
            text = screen.style(word, texts[index]) + " " * (len(text) - len(word))
        cells.append(text)
    return _GAP.join(cells).rstrip()


def fitted(text: str, width: int) -> str:
    """Return the text in exactly so many columns of a terminal."""
    if _width(text) <= width:
        return text + " " * (width - _width(text))
    kept = ""
    for character in text:
        if _width(kept + character) > width - 1:
            break
        kept += character
    return f"{kept}…" + " " * (width - 1 - _width(kept))


def _wrapped(text: str, screen: Screen, indent: str) -> list[str]:
    """Return indented lines that break only between words, so that no id or instant is cut."""
    if screen.width is None or not text:
        return [indent + text] if text else []
    return textwrap.wrap(
        text,
        max(screen.width, len(indent) + _SHORTEST),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width(text: str) -> int:
    """Return the columns of a terminal that the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
        if not unicodedata.combining(character)
    )
