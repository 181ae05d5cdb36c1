"""Write the measured blocks of docs/performance.md: one for each part, with figures and goals.

The line of a goal has "reached" or "not reached", and by how much, from the same run's figures.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from backlog import Drained
from figures import BurstFigures, Lateness
from footprint import Footprint
from recurrence import Row
from where import BurstProfile

BLOCK = "<!-- measured: {} -->\n{}\n<!-- end -->"
GOAL = re.compile(r"^- \*\*Goal (\d+)\*\*: .*$", re.M)


@dataclass(frozen=True)
class Section:
    """One block of the page; `bars` has title to (name to value) for the plot."""

    part: str
    text: str
    bars: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def goal(number: int, wanted: str, measured: str, share: float, *, least: bool = True) -> str:
    """Return the line of a goal.

    Args:
        number: the number of the goal; the summary is sorted by it.
        wanted: the goal, in words.
        measured: the measured figure, in words.
        share: measured / wanted, or wanted / measured where less is better; 1 is just reached.
        least: whether the goal is a lower bound; else it is an upper limit.
    """
    reached = share >= 1
    how = "reached" if reached else "**not reached**"
    much = f"{share:.2f} times the goal" if least else f"{1 / share:.2f} times the limit"
    return f"- **Goal {number}**: {wanted}: {measured}: {how} ({much})."


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float]) -> str:
    """Return the median, with the range if there are several values."""
    shown = f"{statistics.median(values):,.0f}"
    return shown if len(values) == 1 else f"{shown} ({min(values):,.0f} to {max(values):,.0f})"


def sparse_section(rounds: Sequence[tuple[Lateness, Lateness]]) -> Section:
    """Return sparse load and goal 3 from rounds of (campaignd, bare timers)."""
    figures = {
        key: [
            statistics.median(getattr(row, key) for row in side)
            for side in zip(*rounds, strict=True)
        ]
        for key in ("p50_ms", "p99_ms", "max_ms")
    }
    rows = [
        [name, *(f"{figures[key][side]:.2f}" for key in figures)]
        for side, name in enumerate(("campaignd", "asyncio timers alone"))
    ]
    lines = [
        goal(
            3,
            f"100 fires/s spread, {key[:3]} lateness at most 5 times the bare timer's",
            f"{ours / bare:.1f} times",
            5 * bare / ours,
            least=False,
        )
        for key, (ours, bare) in figures.items()
        if key != "max_ms"
    ]
    heads = ("100 fires/s for 10 s", "late p50 ms", "p99 ms", "max ms")
    return Section("sparse", f"{table(heads, rows)}\n\n" + "\n".join(lines))


def next_section(rows: Sequence[Row]) -> Section:
    """Return the next occurrences and goal 4."""
    lines = [
        [
            row.name,
            *(f"{rate / 1000:,.0f}k" for rate in (*row.following.values(), *row.after.values())),
            "" if row.rrule is None else f"{row.rrule / 1000:,.1f}k",
        ]
        for row in rows
    ]
    slowest = min(
        (rate, row.name) for row in rows for rate in (*row.following.values(), *row.after.values())
    )
    ages = list(rows[0].following)
    heads = ["a second and core", *(f"following, {age} y" for age in ages)]
    heads += [*(f"after, {age} y" for age in ages), "rrule"]
    line = goal(
        4,
        "next occurrence at least 100,000 a second and core, for every recurrence at any age",
        f"the slowest is {slowest[1]!r} with {slowest[0]:,.0f}",
        slowest[0] / 100_000,
    )
    return Section("next", f"{table(heads, lines)}\n\n{line}")


def stored_section(rows: Sequence[Footprint]) -> Section:
    """Return cold start and idle with few and with many stored schedules, and goal 6."""
    few, many = rows
    lines = [
        [
            f"{row.stored:,}",
            f"{row.ready_s:.3f}",
            f"{row.idle_mb:.1f}",
            f"{row.idle_cpu:.2%}",
            f"{row.server_cpu:.2%}",
        ]
        for row in rows
    ]
    figures = {
        "start": many.ready_s / few.ready_s,
        "memory": many.idle_mb / few.idle_mb,
        "processor": (many.idle_cpu + many.server_cpu) / max(1e-9, few.idle_cpu + few.server_cpu),
    }
    worst = max(figures, key=lambda key: figures[key])
    line = goal(
        6,
        "1,000,000 stored schedules within 1.2 times of 1,000, in start, memory and idle processor"
        " time, the server's included",
        ", ".join(f"{name} {figure:.2f} times" for name, figure in figures.items()),
        1.2 / figures[worst],
        least=False,
    )
    heads = ("stored", "ready s", "idle MB", "idle CPU", "server's idle CPU")
    return Section("stored", f"{table(heads, lines)}\n\n{line}")


def memory_section(rows: Sequence[Footprint]) -> Section:
    """Return the memory without and with the API, and goal 7."""
    lines = [
        ["run" if row.api else "run --no-api", f"{row.idle_mb:.1f}", f"{row.peak_mb or 0:.1f}"]
        for row in rows
    ]
    heads = ("100,000 stored", "idle MB", "peak MB of 10,000 at once")
    goals = [
        goal(
            7,
            f"at most {most} MB {when}, {'with' if row.api else 'without'} the API",
            f"{figure:.1f} MB",
            most / figure,
            least=False,
        )
        for row in rows
        for most, when, figure in (
            (100 if row.api else 80, "idle with 100,000 stored", row.idle_mb),
            (120 if row.api else 100, "in a burst of 10,000", row.peak_mb or 0),
        )
    ]
    return Section("memory", f"{table(heads, lines)}\n\n" + "\n".join(goals))


def bulk_section(imports: Sequence[float], previews: Sequence[float]) -> Section:
    """Return goal 8 from campaigns a second and cases a second."""
    return Section(
        "bulk",
        "\n".join(
            [
                goal(
                    8,
                    "import at least 5,000 campaigns/s",
                    spread(imports),
                    statistics.median(imports) / 5_000,
                ),
                goal(
                    8,
                    "preview at least 20,000 cases/s in one process",
                    spread(previews),
                    statistics.median(previews) / 20_000,
                ),
            ]
        ),
    )


def webhook_section(ours: float, bare: float, posts: int, concurrency: int) -> Section:
    """Return goal 9 from posts a second of campaignd and of the bare client."""
    return Section(
        "webhook",
        goal(
            9,
            f"{posts:,} webhooks, {concurrency} at a time, within 1.5 times of a bare client",
            f"{ours:,.0f}/s beside {bare:,.0f}/s: {bare / ours:.2f} times as long",
            1.5 * ours / bare,
            least=False,
        ),
    )


def where_section(found: BurstProfile) -> Section:
    """Return the functions that a burst spends its time in; there is no goal."""
    lines = [
        [name if " and " in name else f"`{name}`", f"{share:.1%}"]
        for name, share in list(found.shares.items())[:20]
    ]
    rest = 1 - sum(list(found.shares.values())[:20])
    text = (
        f"Of {found.fires:,} at once, with the profiler beside it, each took"
        f" {found.wall_us:.0f} us by the clock, {found.daemon_us:.0f} us of the daemon's one"
        f" processor and {found.server_us:.0f} us of the server's. The daemon's samples:"
    )
    whole = table(("function", "share"), [*lines, ["the others", f"{rest:.1%}"]])
    return Section("where", f"{text}\n\n{whole}")


def backlog_section(found: Drained) -> Section:
    """Return the backlog, and goal 7."""
    late = found.on_time
    row = [
        f"{found.due:,}",
        f"{found.ready_s:.1f}",
        f"{found.took_s:,.0f}",
        f"{found.fires_per_s:,.0f}",
        f"{found.peak_mb:.0f}",
        f"{late.fires}",
        f"{late.p50_ms:.0f} / {late.p99_ms:.0f} / {late.max_ms:.0f}",
    ]
    heads = (
        "due at once",
        "ready s",
        "s",
        "fires/s",
        "peak MB",
        "on time meanwhile",
        "their p50/p99/max ms",
    )
    line = goal(
        7,
        "1,000,000 due at once drain without starving what is due on time (p99 within 1 s)",
        f"p99 {late.p99_ms:,.0f} ms",
        1000 / late.p99_ms,
        least=False,
    )
    return Section("backlog", f"{table(heads, [row])}\n\n{line}")


def history_section(rows: Sequence[BurstFigures]) -> Section:
    """Return the bursts on top of few and of many stored runs, and goal 6."""
    few, many = rows
    lines = [
        [row.name, f"{row.fires_per_s:,.0f}", f"{row.late_p99_ms:,.0f}", f"{row.cpu_us:,.0f}"]
        for row in rows
    ]
    line = goal(
        6,
        "10,000,000 runs stored, firing rate within 1.2 times of 10,000 runs",
        f"{few.fires_per_s / many.fires_per_s:.2f} times",
        1.2 * many.fires_per_s / few.fires_per_s,
        least=False,
    )
    heads = ("10,000 daily at once", "fires/s", "late p99 ms", "CPU us/fire")
    return Section("history", f"{table(heads, lines)}\n\n{line}")


def write(
    page: Path, sections: Sequence[Section], settings: Mapping[str, str], load: float, repeat: int
) -> None:
    """Replace the blocks of these parts, and the summary of all goals on the page.

    Raises:
        SystemExit: the page has no block for a part.
    """
    text = page.read_text("utf-8")
    for section in sections:
        stamp = (
            f"Measured {datetime.now(UTC):%Y-%m-%d}, medians of {repeat}; {os.cpu_count()}"
            f" processors ({platform.machine()}), load {load:.1f} before it,"
            f" niceness {os.nice(0)}, Python"
            f" {platform.python_version()}, PostgreSQL {settings['server_version']},"
            f" fsync {settings['fsync']}, synchronous_commit {settings['synchronous_commit']}."
        )
        text = _put(text, section.part, f"\n{section.text}\n\n{stamp}\n")
    outside = re.sub(r"<!-- measured: summary -->.*?<!-- end -->", "", text, flags=re.S)
    goals = sorted(GOAL.finditer(outside), key=lambda match: int(match[1]))
    text = _put(text, "summary", "\n" + "\n".join(match[0] for match in goals) + "\n")
    page.write_text(text, "utf-8")


def _put(text: str, part: str, body: str) -> str:
    block = re.compile(rf"<!-- measured: {part} -->.*?<!-- end -->", re.S)
    if not block.search(text):
        raise SystemExit(f"the page has no place for {part}")
    return block.sub(lambda _: BLOCK.format(part, body), text)
