"""`campaignd preview` reads input in pieces of any size, and answers at once."""

from __future__ import annotations

import io
import json
import os
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.cli.commands import preview
from daemon.cli.commands.preview import answer_cases
from daemon.domain.preview import LONGEST_LINE, preview_line

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CASE = {"schedule": {"schedule_type": "scheduled", "scheduled_at": "2026-01-02T09:00Z"}}
LIMIT = 12


class InPieces(io.BytesIO):
    """A file that returns the given numbers of bytes, one after the other."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__(data)
        self._sizes = sizes
        self._turn = 0

    def read1(self, size: int | None = -1, /) -> bytes:
        self._turn += 1
        return super().read1(min(self._sizes[self._turn % len(self._sizes)], size or 1))


@settings(max_examples=300)
@given(
    data=st.lists(st.sampled_from([b"\n", b"\r", b"a", b"bcd", b" " * LIMIT])).map(b"".join),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
)
@example(data=b"\n" + b" " * 4 * LIMIT + b"\n", sizes=[25])
def test_lines_are_the_same_however_they_come(data: bytes, sizes: list[int]) -> None:
    """A line that is too long is still too long after it was cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preview, "LONGEST_LINE", LIMIT)
        found = [line for some in preview._read_cases(InPieces(data, sizes)) for line in some]
    *ended, rest = data.split(b"\n")
    expected = ended + ([rest] if rest else [])
    assert len(found) == len(expected)
    for line, whole in zip(found, expected, strict=True):
        is_short = len(whole.rstrip(b"\r")) <= LIMIT
        assert (len(line.rstrip(b"\r")) <= LIMIT) == is_short
        assert line[:LIMIT] == whole[:LIMIT]
        assert not is_short or line.rstrip(b"\r") == whole.rstrip(b"\r")
        assert len(line) <= LIMIT + 2 + max(sizes)


def test_numbers_go_on_from_piece_to_piece() -> None:
    """The error of an unreadable line has its number in the file."""
    data = b"\n".join([json.dumps(CASE).encode()] * 20 + [b"{"] * 20)
    out = io.StringIO()
    answer_cases(InPieces(data, [7, 300, 1]), out, NOW, table=False)
    numbers = [json.loads(line).get("line") for line in out.getvalue().splitlines()]
    assert numbers == [None] * 20 + list(range(21, 41))
    assert preview_line(b"x" * (LONGEST_LINE + 1), 3, NOW)["error"]["status"] == 413


def test_two_programs_can_talk() -> None:
    """Each case is answered while the pipe stays open."""
    questions, answers = os.pipe(), os.pipe()
    with (
        open(questions[0], "rb") as asked,
        open(answers[1], "w") as answering,
        open(answers[0], "rb", buffering=0) as heard,
    ):
        reader = threading.Thread(target=answer_cases, args=(asked, answering, NOW, False))
        reader.start()
        for number in range(3):
            os.write(questions[1], json.dumps({"id": number, **CASE}).encode() + b"\n{")
            assert json.loads(heard.read(1 << 16))["id"] == number
            os.write(questions[1], b"\n")
            assert b"error" in heard.read(1 << 16)
        os.close(questions[1])
        reader.join(60)
        assert not reader.is_alive()


def test_a_table_has_a_line_for_each_case() -> None:
    """The first runs, the number of further ones, and an error as a note."""
    daily = {"frequency": "daily", "time": "09:00"}
    body = {"schedule_type": "recurring", "recurring_config": daily}
    lines = [{"id": 1, "schedule": body, "count": 5}, {"id": 2, "schedule": {}}]
    out = io.StringIO()
    source = io.BytesIO("".join(json.dumps(line) + "\n" for line in lines).encode())
    answer_cases(source, out, NOW, table=True)
    heading, first, second = out.getvalue().splitlines()
    assert heading.split() == ["case", "runs", "and", "then", "note"]
    assert "3 more, the last " in first
    assert second.startswith("2 ")
    assert " 400 " in second
