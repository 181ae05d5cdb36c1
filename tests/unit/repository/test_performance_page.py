"""docs/performance.md: the blocks that the benchmarks write, and the summary of the goals."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
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
    report.write(page, report.webhook_section([(300.0, 1000.0), (400.0, 1000.0)], 10, 2), "where")
    text = page.read_text()
    assert "old" not in text
    assert re.findall(r"^[abc]$", text, re.M) == ["a", "b", "c"]
    line = (
        "- **Goal 9**: 10 webhooks, 2 at a time, within 2 times of a bare client: 350/s beside"
        " 1,000/s: 2.86 times as long: **not reached** (1.43 times the limit)."
    )
    assert text.count(line) == 2
    assert "where" in text
    report.write(page, report.webhook_section([(800.0, 1000.0)], 10, 2), "where")
    assert page.read_text().count("reached (0.62 times the limit)") == 2
    assert "not reached" not in page.read_text()


def test_a_part_names_the_machine_and_its_load(benchmarks: Any) -> None:
    """Figures of another machine cannot be mistaken for those of this one."""
    report = benchmarks("report")
    shown = {"server_version": "18.4", "fsync": "on", "synchronous_commit": "on"}
    line = report.stamp(report.Section("sparse", ""), 5, 0.75, shown)
    assert re.match(
        r"Measured \d{4}-\d\d-\d\d, medians of 5 by turns; \d+ cores \(.+\), \d+ GiB", line
    )
    for part in ("load 0.8 before this part", "Python 3.", "PostgreSQL 18.4", "fsync on"):
        assert part in line
    once = report.stamp(report.Section("memory", "", once=True), 5, 0.75, shown)
    assert "each figure once" in once


def test_idle_and_start_have_goals(benchmarks: Any) -> None:
    """Each goal is judged by the medians of its own figures."""
    idle = [
        benchmarks("footprint").Footprint(stored, api, 0.0, 60.0, cpu, 0.001, 0)
        for stored, api, cpu in (
            (1_000, False, 0.004),
            (1_000, True, 0.0059),
            (10_000, False, 0.004),
        )
    ]
    starts = {1_000: [0.5, 0.6, 9.0], 10_000: [0.61, 0.1, 0.7]}
    text = benchmarks("report").stored_section(starts, idle).text
    assert "0.610 s beside 0.600 s: 1.02 times: reached" in text
    assert "below 0.6% of a core: 0.59% (0.40% without it): reached (0.98 times the limit)" in text
    assert "memory 1.00 times, processor 1.00 times: reached" in text


@pytest.fixture
def burst_goals(benchmarks: Any) -> Callable[..., list[str]]:
    """Return a function that returns the lines of the goals of bursts."""
    figures, bursts = benchmarks("figures"), benchmarks("bursts")
    peers = benchmarks("peers").PEERS

    def lines(
        rates: dict[tuple[str, int], float], *, skipped: dict[tuple[str, int], str] | None = None
    ) -> list[str]:
        found = {
            key: [
                figures.BurstFigures(
                    key[0],
                    key[1],
                    rate,
                    1.0,
                    1e6 / rate,
                    1e6 / rate,
                    1e6 / rate,
                    50.0,
                    60.0,
                    0,
                    21.0,
                )
            ]
            for key, rate in rates.items()
        }
        limits = {size: [30_000.0] for _, size in rates}
        measured = bursts.Bursts(found, limits, skipped or {})
        text = benchmarks("burst_report").bursts_section(measured, peers, "a 1").text
        return re.findall(r"^- \*\*Goal.*$", text, re.M)

    return lines


def test_every_size_of_a_burst_is_judged_beside_its_best_peer(
    burst_goals: Callable[..., list[str]],
) -> None:
    """Another peer may be the best at each size."""
    lines = burst_goals(
        {
            ("campaignd", 1_000): 9_000.0,
            ("pg-boss", 1_000): 6_000.0,
            ("graphile-worker", 1_000): 10_000.0,
            ("campaignd", 100_000): 25_000.0,
            ("pg-boss", 100_000): 20_000.0,
        }
    )
    assert [(line[:12], line.split(": ")[1]) for line in lines] == [
        ("- **Goal 1**", "1,000 at one instant"),
        ("- **Goal 2**", "1,000 at one instant"),
        ("- **Goal 1**", "100,000 at one instant"),
        ("- **Goal 2**", "100,000 at one instant"),
    ]
    assert (
        "9,000 beside 10,000 of graphile-worker: **not reached** (0.90 times the goal)" in lines[0]
    )
    assert "111 ms beside 100 of graphile-worker: **not reached**" in lines[1]
    assert "25,000 beside 20,000 of pg-boss: reached (1.25 times the goal)" in lines[2]
    assert "40 ms beside 50 of pg-boss: reached" in lines[3]


def test_a_goal_names_the_peers_that_were_not_measured(
    burst_goals: Callable[..., list[str]],
) -> None:
    """Being ahead of the peers that are there is not being ahead of all."""
    lines = burst_goals({("campaignd", 1_000): 9_000.0, ("pg-boss", 1_000): 6_000.0})
    assert "more fires/s than every durable peer, without graphile-worker, pgqueuer" in lines[0]


def test_the_goals_at_10000_are_judged_by_that_size(burst_goals: Callable[..., list[str]]) -> None:
    """APScheduler's store counts with its best size, the limit and the daily rate with this one."""
    lines = burst_goals(
        {
            ("APScheduler + SQLAlchemyJobStore", 1_000): 1_000.0,
            ("campaignd", 1_000): 9_000.0,
            ("campaignd", 10_000): 24_000.0,
            ("campaignd, daily", 10_000): 21_000.0,
            ("campaignd, target log", 10_000): 20_000.0,
            ("APScheduler + SQLAlchemyJobStore", 10_000): 800.0,
        }
    )
    shown = "\n".join(lines)
    assert "24.0 times its 1,000 (its best, with 1,000): reached (1.20 times the goal)" in shown
    assert "0.80 of 30,000: reached (1.07 times the goal)" in shown
    assert "21,000 fires/s, 0.88: **not reached** (0.97 times the goal)" in shown
    assert "at most 20 us of the daemon's processor time a fire: 21.0 us: **not reached**" in shown
    assert "at most 25 us of the daemon's processor time a fire: 21.0 us: reached" in shown


def test_a_burst_that_is_cut_off_has_the_rate_until_then(benchmarks: Any) -> None:
    """What did not begin is later than anything that did."""
    figures = benchmarks("figures")
    row = figures.burst_figures("x", 100.0, [100.1] * 95, 115.0, 100, 90)
    assert (row.fires, row.fires_per_s, row.late_p50_ms) == (100, 6.0, 100.0)
    assert row.late_p99_ms == row.late_p999_ms == row.late_max_ms == math.inf
    whole = figures.burst_figures("x", 100.0, [100.1] * 100, 101.0)
    assert (whole.fires_per_s, whole.late_p999_ms) == (100.0, 100.0)


def test_a_slow_machine_gets_longer_leads(benchmarks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement that was not ready in time starts again, in another new database."""
    database = benchmarks("database")
    leads: list[float] = []

    def measure(url: str, *, lead: float) -> str:
        leads.append(lead)
        if lead < 20:
            raise database.TooSlow("late")
        return url

    monkeypatch.setattr(database, "database", lambda url, name: nullcontext(f"{url}/{name}"))
    assert database.in_new_database("server", "own", measure, 5) == "server/own"
    assert leads == [5, 10, 20]
    with pytest.raises(database.TooSlow):
        database.in_new_database("server", "own", measure, 1)


def test_every_peer_has_a_driver_and_an_exact_version(benchmarks: Any) -> None:
    """The same commit measures the same peers."""
    installation = benchmarks("peer_installation")
    for peer in benchmarks("peers").PEERS:
        assert (installation.DRIVERS / peer.driver).exists()
    node = json.loads((installation.DRIVERS / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in node.values())
    for file in ("requirements.txt", "oban.txt"):
        lines = (installation.DRIVERS / file).read_text().splitlines()
        assert all(line.startswith("#") or "==" in line for line in lines)
    shown = installation.versions()
    for name in ("APScheduler 3.", "graphile-worker ", "pg-boss ", "procrastinate ", "oban "):
        assert name in shown
    assert "py-spy" not in shown


def test_oban_says_which_python_is_missing(
    benchmarks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page names the reason where the machine has only older ones."""
    installation = benchmarks("peer_installation")
    monkeypatch.setattr(installation, "newer_python", lambda: None)
    with pytest.raises(installation.Unavailable, match=r"needs Python 3\.12 or later"):
        installation.oban_peer()
