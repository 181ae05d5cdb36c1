"""docs/history.md as the tests read it: the events and causes that `campaign_events` may hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PAGE = (Path(__file__).parents[2] / "docs" / "history.md").read_text("utf-8")


class Row(NamedTuple):
    """A row of either table; an operator's command has no cause and no event in the log."""

    event: str
    cause: str | None
    statuses: str
    logged: str


def _documented_rows() -> list[Row]:
    found = []
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            found.append(Row(cells[0].strip("`"), None, cells[1], ""))
        elif line.startswith("| `") and len(cells) == 5:
            found.append(Row(cells[0].strip("`"), cells[1].strip("`"), cells[2], cells[4]))
    return found


ROWS = _documented_rows()


def is_documented(event: str, cause: str | None) -> bool:
    """Return whether the page has the pair; words in capitals stand for a value."""
    if cause is None:
        return any(row.event == event and row.cause is None for row in ROWS)
    if event == "imported":
        return f"the cause `{cause}`" in PAGE
    ways = [row.cause for row in ROWS if row.event == event and row.cause is not None]
    return any(re.fullmatch(re.sub("[A-Z]+", ".+", way), cause, re.DOTALL) for way in ways)
