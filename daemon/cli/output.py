"""Output of commands: tables for people, or JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import islice
from json import JSONEncoder
from typing import Annotated, Any, Generic, TypeVar

import typer

from daemon.cli.screen import Output, screen
from daemon.cli.table import Column, field_lines, table_lines
from daemon.domain.formatting import utc_text

LimitOption = Annotated[
    int,
    typer.Option(
        "--limit", "-n", min=1, max=10_000_000, help="The largest number of lines.", metavar="N"
    ),
]

ItemT = TypeVar("ItemT")
KeyT = TypeVar("KeyT")

_PAGE = 1000


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return utc_text(value) if value.tzinfo is not None else value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return str(value)


_encode = JSONEncoder(ensure_ascii=False, default=_json_value).encode
_encode_ascii = JSONEncoder(default=_json_value).encode


def print_json(value: dict[str, Any]) -> None:
    """Print one object on one line; with escapes where standard output is not UTF-8."""
    is_utf8 = (sys.stdout.encoding or "utf-8").lower() in ("utf-8", "utf8")
    sys.stdout.write((_encode if is_utf8 else _encode_ascii)(value) + "\n")


class _CsvRows:
    """Objects as lines of CSV; the first one decides the columns."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._writer = csv.writer(sys.stdout, lineterminator="\n")

    def print(self, value: dict[str, Any]) -> None:
        if not self._names:
            self._names = list(value)
            self._writer.writerow(self._names)
        self._writer.writerow([_csv_cell(value.get(name)) for name in self._names])


def _csv_cell(value: object) -> object:
    if value is None or isinstance(value, str | int | float):
        return "" if value is None else value.value if isinstance(value, Enum) else value
    return _encode(value) if isinstance(value, dict | list | tuple) else _json_value(value)


@dataclass(frozen=True)
class Listing(Generic[ItemT, KeyT]):
    """The output of a long list.

    Attributes:
        columns: the columns of the table.
        row: returns the cells of an item.
        as_json: returns an item as a JSON object.
        key: returns the place of an item, after which the next page begins.
        empty: printed instead of a table without rows.
    """

    columns: Sequence[Column | str]
    row: Callable[[ItemT], Sequence[object]]
    as_json: Callable[[ItemT], dict[str, Any]]
    key: Callable[[ItemT], KeyT]
    empty: str


async def print_pages(
    listing: Listing[ItemT, KeyT],
    fetch: Callable[[int, KeyT | None], Awaitable[Sequence[ItemT]]],
    *,
    limit: int,
) -> None:
    """Read a long list page by page, and print it in the form that the screen asks for.

    JSON objects and CSV rows are printed as soon as they are read.

    Args:
        listing: the output.
        fetch: reads a page, given its size and the key after which it begins, None at first.
        limit: the largest number of items in all.
    """
    is_table = screen().output is Output.TABLE
    print_object = _object_printer()
    found: list[ItemT] = []
    left, after = limit, None
    while left > 0:
        page = await fetch(min(left, _PAGE), after)
        if is_table:
            found.extend(page)
        else:
            for item in page:
                print_object(listing.as_json(item))
        left -= len(page)
        if len(page) < _PAGE:
            break
        after = listing.key(page[-1])
    if is_table:
        print_table(listing.columns, [listing.row(item) for item in found], listing.empty)


def print_rows(
    listing: Listing[ItemT, KeyT], items: Sequence[ItemT], *, with_heading: bool
) -> None:
    """Print some items of a list that goes on, and flush them."""
    if screen().output is Output.TABLE:
        lines = table_lines(_named(listing.columns), [*map(listing.row, items)], screen())
        for line in islice(lines, 0 if with_heading else 1, None):
            print(line)
    else:
        for item in items:
            print_json(listing.as_json(item))
    sys.stdout.flush()


def print_objects(values: Iterable[dict[str, Any]]) -> None:
    """Print objects as JSON lines, or as CSV where the screen asks for it."""
    print_object = _object_printer()
    for value in values:
        print_object(value)


def _object_printer() -> Callable[[dict[str, Any]], None]:
    return _CsvRows().print if screen().output is Output.CSV else print_json


def _named(columns: Sequence[Column | str]) -> list[Column]:
    return [column if isinstance(column, Column) else Column(column) for column in columns]


def print_table(
    columns: Sequence[Column | str], rows: Iterable[Sequence[object]], empty: str
) -> None:
    """Print a table; without a row, only `empty`."""
    cells = list(rows)
    if not cells:
        print(empty)
        return
    for line in table_lines(_named(columns), cells, screen()):
        print(line)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print named values, one a line."""
    for line in field_lines(list(fields), screen()):
        print(line)


def print_zone() -> None:
    """Name the zone of the times of a table, for people."""
    if screen().output is Output.TABLE and screen().is_for_people:
        print(screen().style(f"times are in {screen().zone_name}; --utc, --tz ZONE", "dim"))


def shown_instant(at: datetime | None) -> str | None:
    """Return an instant as the screen shows it in a sentence; None stays None."""
    return None if at is None else screen().instant(at)
