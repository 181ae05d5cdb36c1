"""`campaignd preview [FILE]`: one JSON case a line in, one JSON answer a line out."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, Protocol, TextIO, cast

import typer

from daemon.cli.screen import screen
from daemon.cli.table import Column, table_lines
from daemon.domain.preview import LONGEST_LINE, preview_line
from daemon.runtime.clock import SystemClock

_SHOWN_RUNS = 2
_CHUNK = 1 << 16
_encode = json.JSONEncoder(allow_nan=False).encode


class LineSource(Protocol):
    """A buffered file of bytes."""

    def read1(self, size: int = -1, /) -> bytes:
        """Return the available bytes, at most `size`; empty at the end."""
        ...


def preview(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The cases; - is standard input.")
    ] = Path("-"),
    table: Annotated[
        bool, typer.Option("--table", help="Print a table instead of JSON lines.")
    ] = False,
) -> int:
    """Compute when schedules would run, from JSON lines.

    Each case gets one line with its answer; an error in a case is an answer too.
    """
    now = SystemClock().now()
    if str(file) == "-":
        return answer_cases(cast(BufferedReader, sys.stdin.buffer), sys.stdout, now, table)
    with file.open("rb") as source:
        return answer_cases(source, sys.stdout, now, table)


def answer_cases(source: LineSource, out: TextIO, now: datetime, table: bool) -> int:
    """Answer every line of `source`; return exit code 0, because errors are answers too.

    Lines that have been read are answered before more is read, so that two programs can exchange
    cases and answers through pipes.

    Args:
        source: the cases.
        out: receives the answers.
        now: an aware instant, for cases without `after`.
        table: print a table instead of JSON lines.
    """
    numbers = itertools.count(1)
    batches = (
        [preview_line(raw, next(numbers), now) for raw in some] for some in _read_cases(source)
    )
    if table:
        _print_answers_table(itertools.chain.from_iterable(batches), out)
        return 0
    for answers in batches:
        out.write("".join([_encode(answer) + "\n" for answer in answers]))
        out.flush()
    return 0


def _read_cases(source: LineSource) -> Iterator[list[bytes]]:
    """Yield the lines that each read completes; cut lines that are too long."""
    rest = b""
    while chunk := source.read1(_CHUNK):
        first, *more = chunk.split(b"\n")
        rest += first
        if more:
            yield [rest, *more[:-1]]
            rest = more[-1]
        if len(rest) > LONGEST_LINE:
            # The end of the line does not count; three of the bytes beyond the limit are enough.
            over = rest[LONGEST_LINE:].rstrip(b"\r")
            rest = rest[:LONGEST_LINE] + over[:2] + over[-1:]
    if rest:
        yield [rest]


def _print_answers_table(answers: Iterator[dict[str, Any]], out: TextIO) -> None:
    rows = [_answer_row(number, answer) for number, answer in enumerate(answers, start=1)]
    if not rows:
        out.write("no cases\n")
        return
    columns = (Column("case"), Column("runs"), Column("and then"), Column("note", is_second=True))
    for line in table_lines(columns, rows, screen()):
        out.write(line + "\n")


def _answer_row(number: int, answer: dict[str, Any]) -> tuple[object, ...]:
    """Return a case with its first run; the next ones, and what is particular, as a note."""
    identity = answer["id"]
    name = f"line {number}" if identity is None else _encode(identity)
    runs = answer.get("occurrences", [])
    more = f"{len(runs) - _SHOWN_RUNS} more, the last {runs[-1]}" if len(runs) > _SHOWN_RUNS else ""
    if "error" in answer:
        note = f"{answer['error']['status']} {answer['error']['message']}"
    elif "launch_at" in answer:
        note = f"{answer['launch_at']} to {answer['complete_at'] or 'no end'}"
    else:
        note = "" if runs else "no runs"
    return name, " ".join(runs[:_SHOWN_RUNS]), more, note
