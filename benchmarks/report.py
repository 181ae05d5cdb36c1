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

import psutil
from backlog import Drained
from figures import BurstFigures, Lateness
from footprint import Footprint
from recurrence import Row
from where import BurstProfile

BLOCK = "<!-- measured: {} -->\n{}\n<!-- end -->"
GOAL = re.compile(r"^- \*\*Goal (\d+)\*\*: .*$", re.M)


@dataclass(frozen=True)
class Section:
    """One block of the page.

    Args:
        part: the name of the block.
        text: its text, in Markdown.
        once: whether each figure is of one measurement instead of a median.
        bars: title to (name to value) for the plot.
    """

    part: str
    text: str
    once: bool = False
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
            f"100 fires/s spread: {key[:3]} lateness at most {most} times the bare timer's",
            f"{ours / bare:.2f} times",
            most * bare / ours,
            least=False,
        )
        for key, most in (("p50_ms", 2), ("p99_ms", 3))
        for ours, bare in [figures[key]]
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
    return Section("next", f"{table(heads, lines)}\n\n{line}", once=True)


def stored_section(starts: Mapping[int, Sequence[float]], idle: Sequence[Footprint]) -> Section:
    """Return cold start and idle with few and with many stored schedules, and goals 6 and 11.

    Args:
        starts: seconds of each start without the API, by the number of stored schedules.
        idle: few schedules, without and with the API, and many schedules without it.
    """
    few, with_api, many = idle
    ready = {stored: statistics.median(took) for stored, took in starts.items()}
    lines = [
        [
            f"{row.stored:,}",
            "run" if row.api else "run --no-api",
            "" if row.api else _seconds(starts[row.stored]),
            f"{row.idle_mb:.1f}",
            f"{row.idle_cpu:.2%}",
            f"{row.server_cpu:.2%}",
        ]
        for row in idle
    ]
    start = ready[many.stored] / ready[few.stored]
    others = {
        "memory": many.idle_mb / few.idle_mb,
        "processor": (many.idle_cpu + many.server_cpu) / max(1e-9, few.idle_cpu + few.server_cpu),
    }
    stored = f"{many.stored:,} stored schedules"
    goals = [
        goal(
            6,
            f"{stored}: start within 1.1 times of {few.stored:,}",
            f"{ready[many.stored]:.3f} s beside {ready[few.stored]:.3f} s: {start:.2f} times",
            1.1 / start,
            least=False,
        ),
        goal(
            6,
            f"{stored}: memory and idle processor time, the server's included, within 1.2 times of"
            f" {few.stored:,}",
            ", ".join(f"{name} {figure:.2f} times" for name, figure in others.items()),
            1.2 / max(others.values()),
            least=False,
        ),
        goal(
            11,
            "idle with the API: below 0.6% of a core",
            f"{with_api.idle_cpu:.2%} ({few.idle_cpu:.2%} without it)",
            0.006 / max(1e-9, with_api.idle_cpu),
            least=False,
        ),
    ]
    heads = ("stored", "", "ready s", "idle MB", "idle CPU", "server's idle CPU")
    return Section("stored", f"{table(heads, lines)}\n\n" + "\n".join(goals))


def _seconds(took: Sequence[float]) -> str:
    return f"{statistics.median(took):.3f} ({min(took):.3f} to {max(took):.3f})"


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
    return Section("memory", f"{table(heads, lines)}\n\n" + "\n".join(goals), once=True)


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


def webhook_section(rounds: Sequence[tuple[float, float]], posts: int, concurrency: int) -> Section:
    """Return goal 9 from rounds of posts a second of (campaignd, the bare client)."""
    ours, bare = (statistics.median(side) for side in zip(*rounds, strict=True))
    lines = [
        [name, spread(side)]
        for name, side in zip(("campaignd", "bare client"), zip(*rounds, strict=True), strict=True)
    ]
    line = goal(
        9,
        f"{posts:,} webhooks, {concurrency} at a time, within 2 times of a bare client",
        f"{ours:,.0f}/s beside {bare:,.0f}/s: {bare / ours:.2f} times as long",
        2 * ours / bare,
        least=False,
    )
    return Section("webhook", f"{table(('', 'posts/s'), lines)}\n\n{line}")


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
    return Section("where", f"{text}\n\n{whole}", once=True)


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
    return Section("backlog", f"{table(heads, [row])}\n\n{line}", once=True)


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


def write(page: Path, section: Section, stamp: str) -> None:
    """Replace the block of a part, and the summary of all goals on the page.

    Raises:
        SystemExit: the page has no block for the part.
    """
    text = _put(page.read_text("utf-8"), section.part, f"\n{section.text}\n\n{stamp}\n")
    outside = re.sub(r"<!-- measured: summary -->.*?<!-- end -->", "", text, flags=re.S)
    goals = sorted(GOAL.finditer(outside), key=lambda match: int(match[1]))
    text = _put(text, "summary", "\n" + "\n".join(match[0] for match in goals) + "\n")
    page.write_text(text, "utf-8")


def stamp(section: Section, repeat: int, load: float, settings: Mapping[str, str]) -> str:
    """Return the line that says when, where and how a part was measured.

    Args:
        section: the part.
        repeat: number of rounds.
        load: the machine's load before the part.
        settings: see `server_settings`.
    """
    how = "each figure once" if section.once else f"medians of {repeat} by turns"
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d}, {how}; {_machine()}, load {load:.1f} before this"
        f" part, niceness {os.nice(0)}; Python {platform.python_version()}, PostgreSQL"
        f" {settings['server_version']}, fsync {settings['fsync']}, synchronous_commit"
        f" {settings['synchronous_commit']}."
    )


def _machine() -> str:
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    model = models[0].strip() if models else platform.machine()
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB of memory, {platform.system()}"
        f" {platform.release()}"
    )


def _put(text: str, part: str, body: str) -> str:
    block = re.compile(rf"<!-- measured: {part} -->.*?<!-- end -->", re.S)
    if not block.search(text):
        raise SystemExit(f"the page has no place for {part}")
    return block.sub(lambda _: BLOCK.format(part, body), text)
