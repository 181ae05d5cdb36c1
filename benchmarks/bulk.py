"""Measure how many campaigns `campaignd import` loads, and how many cases `preview` computes.

Both are whole processes, start included. The bodies are the recurrences of `recurrence.py` in
turn. A case requests the default number of runs.

Usage: python benchmarks/bulk.py [--campaigns N] [--cases N] [--url URL]
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from database import argument_parser, database, server
from processes import THIS
from recurrence import CASES, WINDOWS


def bodies(count: int) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """Yield (number, campaign, schedule body)."""
    for number, (name, body) in zip(range(count), itertools.cycle(CASES.items()), strict=False):
        kind = "segment_triggered" if name in WINDOWS else "recurring"
        yield number, {"type": kind, "timezone": "America/New_York"}, body


def measure_import(url: str, count: int) -> float:
    """Return campaigns a second, imported into an empty database."""
    THIS.upgrade(url)
    lines = (
        {"campaign": {"name": f"campaign {number}", **campaign}, "schedule": body}
        for number, campaign, body in bodies(count)
    )
    return _rate("import", lines, count, url)


def measure_preview(count: int) -> float:
    """Return cases a second of one process."""
    lines = (
        {
            "id": number,
            "after": "2026-01-01T00:00:00Z",
            "count": 5,
            "campaign": campaign,
            "schedule": body,
        }
        for number, campaign, body in bodies(count)
    )
    return _rate("preview", lines, count)


def _rate(
    command: str, lines: Iterator[dict[str, Any]], count: int, url: str | None = None
) -> float:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "lines.jsonl"
        with file.open("w") as out:
            out.writelines(json.dumps(line) + "\n" for line in lines)
        return count / THIS.run(command, str(file), url=url)


def main() -> None:
    """Measure both and print the rates."""
    parser = argument_parser(__doc__)
    parser.add_argument("--campaigns", type=int, default=20_000, help="to import")
    parser.add_argument("--cases", type=int, default=50_000, help="to preview")
    given = parser.parse_args()
    print(f"preview {measure_preview(given.cases):.0f} cases/s", flush=True)
    with server(given.url) as url, database(url, "bench_import") as own:
        print(f"import {measure_import(own, given.campaigns):.0f} campaigns/s")


if __name__ == "__main__":
    main()
