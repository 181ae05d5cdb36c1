"""How commands say things: tables for people, one JSON object a line for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
LimitOption = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=10_000_000, help="At most so many.")
]
RefArgument = Annotated[
    str, typer.Argument(metavar="REF", help="The campaign's id or uuid.", show_default=False)
]
OptionalRef = Annotated[
    str | None,
    typer.Argument(metavar="[REF]", help="One campaign's: its id or uuid.", show_default=False),
]

ItemT = TypeVar("ItemT")
PlaceT = TypeVar("PlaceT")

_PAGE = 1000
_HIGHEST_ID = 2**63 - 1
_UUID_LENGTH = 36


def parse_ref(text: str) -> int | UUID:
    """The id or uuid that a REF is; a usage error if it is neither."""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _HIGHEST_ID:
        return int(text)
    try:
        if len(text) == _UUID_LENGTH:
            return UUID(text)
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r} is neither a campaign's id nor its uuid")


def instant(value: datetime | None) -> str | None:
    """An instant in UTC, such as 2026-01-01T14:00:00Z; microseconds only when not zero."""
    return None if value is None else value.astimezone(UTC).isoformat()[:-6] + "Z"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return instant(value) if value.tzinfo is not None else value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return str(value)


_encode = json.JSONEncoder(ensure_ascii=False, default=_plain).encode


def print_json(value: dict[str, Any]) -> None:
    """One object on one line."""
    sys.stdout.write(_encode(value) + "\n")


async def print_pages(
    fetch: Callable[[int, PlaceT | None], Awaitable[Sequence[ItemT]]],
    place: Callable[[ItemT], PlaceT],
    *,
    limit: int,
    as_json: Callable[[ItemT], dict[str, Any]] | None,
    columns: Sequence[str],
    row: Callable[[ItemT], Sequence[object]],
    empty: str,
) -> None:
    """A long list, page by page.

    Args:
        fetch: so many, from the first or from behind a place on.
        place: of an item in the list.
        limit: at most so many in all.
        as_json: makes an item an object; each is written as soon as it is there. None: a table.
        columns: of the table, with ``row`` and ``empty`` as for `print_table`.
        row: an item's cells.
        empty: said where there is no item.
    """
    found: list[ItemT] = []
    left, before = limit, None
    while left > 0:
        page = await fetch(min(left, _PAGE), before)
        if as_json is None:
            found.extend(page)
        else:
            for item in page:
                print_json(as_json(item))
        left -= len(page)
        if len(page) < _PAGE:
            break
        before = place(page[-1])
    if as_json is None:
        print_table(columns, [row(item) for item in found], empty)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A table on a terminal, aligned text elsewhere; `empty` is said where there is no row."""
    texts = [["-" if cell is None else _cell(cell) for cell in row] for row in rows]
    if not texts:
        print(empty)
        return
    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
        for row in texts:
            table.add_row(*[Text(cell) for cell in row])
        Console().print(table)
        return
    lines = [list(columns), *texts]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def _cell(value: object) -> str:
    """Text on one line: a name from outside can not break a table or move the cursor."""
    text = str(_plain(value))
    return text if text.isprintable() else text.encode("unicode_escape").decode()
