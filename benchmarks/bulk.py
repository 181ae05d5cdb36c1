"""How many campaigns `campaignd import` loads a second, and how many cases `preview` answers.

Both as whole processes, start included; the bodies are those of `recurrence.py`, every kind of
recurrence that the request bodies have, in turn. A case asks for the default count of runs.

Usage: python benchmarks/bulk.py [--campaigns N] [--cases N] [--url URL]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ground import CAMPAIGND, database, server
from recurrence import CASES, WINDOWS

from storage.migrate import upgrade


def lines(count: int) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
    """(number, campaign, body) in turn."""
    for number, (name, body) in zip(range(count), itertools.cycle(CASES.items()), strict=False):
        kind = "segment_triggered" if name in WINDOWS else "recurring"
        yield number, {"type": kind, "timezone": "America/New_York"}, body


def timed(command: list[str], env: dict[str, str] | None = None) -> float:
    """Seconds that a command takes; its output is thrown away."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CAMPAIGND_")}
    began = time.perf_counter()
    done = subprocess.run(
        command,
        env=kept | (env or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return time.perf_counter() - began


def measure_import(url: str, count: int) -> float:
    """Campaigns a second."""
    upgrade(url)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "campaigns.jsonl"
        with file.open("w") as out:
            for number, campaign, body in lines(count):
                named = {"name": f"campaign {number}", **campaign}
                out.write(json.dumps({"campaign": named, "schedule": body}) + "\n")
        took = timed([str(CAMPAIGND), "import", str(file)], {"CAMPAIGND_DATABASE_URL": url})
    return count / took


def measure_preview(count: int) -> float:
    """Cases a second of one process."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "cases.jsonl"
        with file.open("w") as out:
            for number, campaign, body in lines(count):
                case = {"id": number, "after": "2026-01-01T00:00:00Z", "count": 5}
                out.write(json.dumps({**case, "campaign": campaign, "schedule": body}) + "\n")
        return count / timed([str(CAMPAIGND), "preview", str(file)])


def main() -> None:
    """Measure both and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=20_000)
    parser.add_argument("--cases", type=int, default=50_000)
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
    given = parser.parse_args()
    print(f"preview {measure_preview(given.cases):.0f} cases/s", flush=True)
    with server(given.url) as url, database(url, "bench_import") as own:
        print(f"import {measure_import(own, given.campaigns):.0f} campaigns/s")


if __name__ == "__main__":
    main()
