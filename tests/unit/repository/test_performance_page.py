"""docs/performance.md: the blocks that the benchmarks write, and the summary of the goals."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
BENCHMARKS = ROOT / "benchmarks"
PAGE = (ROOT / "docs" / "performance.md").read_text("utf-8")
BLOCK = re.compile(r"<!-- measured: (\w+) -->\n(.*?)<!-- end -->", re.S)


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of `benchmarks`, which lies outside every package."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module
    for name in [name for name in sys.modules if (BENCHMARKS / f"{name}.py").exists()]:
        del sys.modules[name]  # other packages may use names such as "main"


def test_every_part_has_its_place(benchmarks: Any) -> None:
    """The page has one block for each part, and its plot exists."""
    parts = benchmarks("main").PARTS
    assert sorted(name for name, _ in BLOCK.findall(PAGE)) == sorted([*parts, "summary"])
    assert (ROOT / "docs" / "performance.svg").stat().st_size > 1_000


def test_the_summary_repeats_the_goals_of_the_parts() -> None:
    """The lines are equal, and "reached" agrees with the figure."""
    blocks = dict(BLOCK.findall(PAGE))
    summary = re.findall(r"^- \*\*Goal \d.*$", blocks.pop("summary"), re.M)
    lines = [line for text in blocks.values() for line in re.findall(r"^- \*\*Goal.*$", text, re.M)]
    assert sorted(summary) == sorted(lines) != []
    for line in lines:
        figure, kind = re.findall(r"\((\d+\.\d+) (times the goal|times the limit)\)", line)[0]
        enough = float(figure) >= 0.995 if kind == "times the goal" else float(figure) <= 1.005
        assert ("**not reached**" not in line) == enough or 0.99 < float(figure) < 1.01, line


def test_a_block_is_replaced_and_the_rest_stays(benchmarks: Any, tmp_path: Path) -> None:
    """The run's figures replace the block, and the summary follows."""
    report = benchmarks("report")
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- measured: summary -->\n<!-- end -->\nb\n<!-- measured: webhook -->\nold\n"
        "<!-- end -->\nc\n"
    )
    shown = {"server_version": "18", "fsync": "on", "synchronous_commit": "on"}
    report.write(page, [report.webhook_section(500.0, 1000.0, 10, 2)], shown, 0.5, 3)
    text = page.read_text()
    assert "old" not in text
    assert re.findall(r"^[abc]$", text, re.M) == ["a", "b", "c"]
    line = (
        "- **Goal 9**: 10 webhooks, 2 at a time, within 1.5 times of a bare client: 500/s beside"
        " 1,000/s: 2.00 times as long: **not reached** (1.33 times the limit)."
    )
    assert text.count(line) == 2
    assert "fsync on" in text
    again = report.webhook_section(800.0, 1000.0, 10, 2)
    report.write(page, [again], shown, 0.5, 3)
    assert page.read_text().count("reached (0.83 times the limit)") == 2
    assert "not reached" not in page.read_text()
