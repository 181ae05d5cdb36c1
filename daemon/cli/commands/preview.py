"""`campaignd preview`: one JSON case a line in, one JSON answer a line out."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

from daemon.domain.preview import LONGEST_LINE, preview_line
from daemon.runtime.clock import SystemClock

_SHOWN_RUNS = 5
_CHUNK = 1 << 16
_encode = json.JSONEncoder(allow_nan=False).encode


class LineSource(Protocol):
    """A buffered file of bytes."""

    def read1(self, size: int = -1, /) -> bytes:
        """What is there, at most so much; empty at the end."""
        ...


def preview_file(file: Path, table: bool) -> int:
    """Answer every line of a file, or of standard input for `-`."""
    now = SystemClock().now()
    if str(file) == "-":
        return run_preview(cast(BufferedReader, sys.stdin.buffer), sys.stdout, now, table)
    with file.open("rb") as source:
        return run_preview(source, sys.stdout, now, table)


def run_preview(source: LineSource, out: TextIO, now: datetime, table: bool) -> int:
    """Answer every line of `source`; the exit code is 0, because errors are answers too.

    `now` is aware and counts where a case has no `after`. The answers to what has been read are
    written before more is read, so that two programs can talk through pipes.
    """
    lines = itertools.count(1)
    answers = ([preview_line(raw, next(lines), now) for raw in some] for some in _lines(source))
    if table:
        _print_table(itertools.chain.from_iterable(answers), out)
        return 0
    for some in answers:
        out.write("".join([_encode(answer) + "\n" for answer in some]))
        out.flush()
    return 0


def _lines(source: LineSource) -> Iterator[list[bytes]]:
    """The lines that each read completes; of one too long no more than shows that it is."""
    begun = b""
    while chunk := source.read1(_CHUNK):
        first, *more = chunk.split(b"\n")
        begun += first
        if more:
            yield [begun, *more[:-1]]
            begun = more[-1]
        if len(begun) > LONGEST_LINE:
            # Whatever of it ends a line does not count; of the rest three bytes are enough.
            over = begun[LONGEST_LINE:].rstrip(b"\r")
            begun = begun[:LONGEST_LINE] + over[:2] + over[-1:]
    if begun:
        yield [begun]


def _print_table(answers: Iterator[dict[str, Any]], out: TextIO) -> None:
    # Only for people, and slow to load: 50 ms that a pipe of cases does not need.
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("id", "runs", "window or error")
    for number, answer in enumerate(answers, start=1):
        identity = answer["id"]
        name = f"line {number}" if identity is None else _encode(identity)
        runs = answer.get("occurrences", [])
        told = "\n".join(runs[:_SHOWN_RUNS])
        if len(runs) > _SHOWN_RUNS:
            told += f"\n... {len(runs) - _SHOWN_RUNS} more, the last {runs[-1]}"
        if "error" in answer:
            note = f"{answer['error']['status']} {answer['error']['message']}"
        elif "launch_at" in answer:
            note = f"{answer['launch_at']} to {answer['complete_at'] or 'no end'}"
        else:
            note = "" if runs else "no runs"
        table.add_row(escape(name), told, escape(note))
    Console(file=out).print(table)
