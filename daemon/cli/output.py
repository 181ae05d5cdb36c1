"""Output of commands: tables for people, or one JSON object a line for programs."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from json import JSONEncoder
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
LimitOption = Annotated[
    int,
    typer.Option(
        "--limit", "-n", min=1, max=10_000_000, help="The largest number of lines.", metavar="N"
    ),
]
RefArgument = Annotated[
    str, typer.Argument(metavar="REF", help="The campaign's id or uuid.", show_default=False)
]
OptionalRef = Annotated[
    str | None,
    typer.Argument(
        metavar="REF", help="Only this campaign, by its id or uuid.", show_default=False
    ),
]

ItemT = TypeVar("ItemT")
KeyT = TypeVar("KeyT")

_PAGE = 1000
_MAX_ID = 2**63 - 1
_UUID_LENGTH = 36


def parse_ref(text: str) -> int | UUID:
    """Return the id or uuid that a REF is; raise a usage error if it is neither."""
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _MAX_ID:
        return int(text)
    try:
        if len(text) == _UUID_LENGTH:
            return UUID(text)
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r} is neither a campaign's id nor its uuid")


def instant_text(value: datetime | None) -> str | None:
    """Return an instant in UTC, such as 2026-01-01T14:00:00Z; with microseconds if not zero."""
    return None if value is None else value.astimezone(UTC).isoformat()[:-6] + "Z"


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return instant_text(value) if value.tzinfo is not None else value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return str(value)


_encode = JSONEncoder(ensure_ascii=False, default=_json_value).encode
_encode_ascii = JSONEncoder(default=_json_value).encode


def print_json(value: dict[str, Any]) -> None:
    """Print one object on one line; with escapes where standard output is not UTF-8."""
    is_utf8 = (sys.stdout.encoding or "utf-8").lower() in ("utf-8", "utf8")
    sys.stdout.write((_encode if is_utf8 else _encode_ascii)(value) + "\n")


@dataclass(frozen=True)
class Listing(Generic[ItemT, KeyT]):
    """The output of a long list.

    Attributes:
        columns: the headings of the table.
        row: returns the cells of an item.
        as_json: returns an item as a JSON object.
        key: returns the place of an item, after which the next page begins.
        empty: printed instead of a table without rows.
    """

    columns: Sequence[str]
    row: Callable[[ItemT], Sequence[object]]
    as_json: Callable[[ItemT], dict[str, Any]]
    key: Callable[[ItemT], KeyT]
    empty: str


async def print_pages(
    listing: Listing[ItemT, KeyT],
    fetch: Callable[[int, KeyT | None], Awaitable[Sequence[ItemT]]],
    *,
    limit: int,
    json: bool,
) -> None:
    """Read a long list page by page, and print it.

    Args:
        listing: the output.
        fetch: reads a page, given its size and the key after which it begins, None at first.
        limit: the largest number of items in all.
        json: print each item as a JSON object as soon as it is read, instead of a table.
    """
    found: list[ItemT] = []
    left, after = limit, None
    while left > 0:
        page = await fetch(min(left, _PAGE), after)
        if json:
            for item in page:
                print_json(listing.as_json(item))
        else:
            found.extend(page)
        left -= len(page)
        if len(page) < _PAGE:
            break
        after = listing.key(page[-1])
    if not json:
        print_table(listing.columns, [listing.row(item) for item in found], listing.empty)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print a table on a terminal, aligned text elsewhere; without a row, only `empty`."""
    texts = [["-" if cell is None else _cell_text(cell) for cell in row] for row in rows]
    if not texts:
        print(empty)
        return
    if sys.stdout.isatty():
        # Only for a terminal: rich takes 50 ms to import, which a pipe does not need.
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


def _cell_text(value: object) -> str:
    """Return text on one line: no name may break a table or move the cursor."""
    text = str(_json_value(value))
    return text if text.isprintable() else text.encode("unicode_escape").decode()
