"""What the parts of a run come to: a block of docs/performance.md each, with its goal and figures.

A goal's line says "reached" or "not reached" by the figures of the same run, and by how much.
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
from figures import Measured, middle
from footprint import Footprint
from peers import Peer
from recurrence import Row
from sparse import Lateness
from where import Where

BLOCK = "<!-- measured: {} -->\n{}\n<!-- end -->"
GOAL = re.compile(r"^- \*\*Goal (\d+)\*\*: .*$", re.M)


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    part: str
    text: str
    bars: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def goal(number: int, wanted: str, measured: str, share: float, *, least: bool = True) -> str:
    """A line on a goal.

    Args:
        number: as in the summary.
        wanted: what is wanted, in words.
        measured: what was measured, in words.
        share: measured / wanted, or the other way round where less is better: 1 is just reached.
        least: whether it may be more than is wanted; else wanted / measured is meant.
    """
    reached = share >= 1
    how = "reached" if reached else "**not reached**"
    much = f"{share:.2f} times the goal" if least else f"{1 / share:.2f} times the limit"
    return f"- **Goal {number}**: {wanted}: {measured}: {how} ({much})."


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown has it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float]) -> str:
    """A median, with the range if there is one."""
    shown = f"{statistics.median(values):,.0f}"
    return shown if len(values) == 1 else f"{shown} ({min(values):,.0f} to {max(values):,.0f})"


def bursts_section(
    found: Mapping[tuple[str, int], Sequence[Measured]],
    limits: Mapping[tuple[str, int], Sequence[float]],
    skipped: Mapping[str, str],
    peers: Sequence[Peer],
) -> Section:
    """All systems at all sizes; goals 1, 2 and 5."""
    parts, bars = [], {}
    rows_at: dict[int, dict[str, Measured]] = {}
    for size in sorted({size for _, size in found}):
        rows = rows_at[size] = {
            name: middle(many) for (name, at), many in found.items() if at == size
        }
        ours = rows["campaignd"]
        limit = statistics.median(limits["one-off", size])
        lines = [
            [
                name,
                spread([each.fires_per_s for each in found[name, size]]),
                f"{ours.fires_per_s / row.fires_per_s:.2f}",
                f"{row.late_p50_ms:,.0f} / {row.late_p99_ms:,.0f} / {row.late_max_ms:,.0f}",
                f"{row.idle_mb:.0f} / {row.peak_mb:.0f}",
                f"{row.cpu_us:,.0f}",
            ]
            for name, row in sorted(rows.items(), key=lambda item: -item[1].fires_per_s)
        ]
        for kind in ("one-off", "daily"):
            if (kind, size) in limits:
                rate = limits[kind, size]
                share = ours.fires_per_s / statistics.median(rate)
                lines.append([f"raw SQL limit, {kind}", spread(rate), f"{share:.2f}", "", "", ""])
        heads = ("", "fires/s", "campaignd / it", "late p50 / p99 / max ms", "idle / peak MB")
        parts.append(f"{size:,} due at once:\n\n{table([*heads, 'CPU us/fire'], lines)}")
        bars[f"fires/s, {size:,} at once"] = {
            name: row.fires_per_s for name, row in _ordered(rows)
        } | {"raw SQL limit": limit}
    settings = [f"{peer.name}: {peer.setting}" for peer in peers if peer.name not in skipped]
    left_out = [f"{name}: skipped, {why}" for name, why in skipped.items()]
    parts.append("Settings. " + ". ".join([*settings, *left_out]) + ".")
    if 10_000 in rows_at:
        parts.append(_burst_goals(rows_at, limits, peers))
        late = {name: row.late_p99_ms for name, row in _ordered(rows_at[10_000])}
        bars["late p99 in ms, 10,000 at once"] = late
    return Section("bursts", "\n\n".join(parts), bars)


def _ordered(rows: Mapping[str, Measured]) -> list[tuple[str, Measured]]:
    return sorted(rows.items(), key=lambda item: -item[1].fires_per_s)


def _burst_goals(
    rows_at: Mapping[int, Mapping[str, Measured]],
    limits: Mapping[tuple[str, int], Sequence[float]],
    peers: Sequence[Peer],
) -> str:
    rows = rows_at[10_000]
    ours = rows["campaignd"]
    durable = {peer.name for peer in peers if peer.durable}
    others = [row for name, row in rows.items() if name in durable]
    lines = []
    if others:
        best = max(others, key=lambda row: row.fires_per_s)
        lines.append(
            goal(
                1,
                "10,000 at one instant, more fires/s than the best durable peer",
                f"{ours.fires_per_s:,.0f} beside {best.fires_per_s:,.0f} of {best.name}",
                ours.fires_per_s / best.fires_per_s,
            )
        )
    smallest = rows_at[min(rows_at)]
    stored = smallest.get("APScheduler + SQLAlchemyJobStore")
    if stored is not None:
        lines.append(
            goal(
                1,
                "at least 20 times APScheduler's SQLAlchemyJobStore",
                f"{ours.fires_per_s / stored.fires_per_s:.1f} times its {stored.fires_per_s:,.0f}"
                f" (it with {stored.fires:,})",
                ours.fires_per_s / stored.fires_per_s / 20,
            )
        )
    limit = statistics.median(limits["one-off", 10_000])
    lines.append(
        goal(
            1,
            "at least half of the raw SQL limit for the same rows",
            f"{ours.fires_per_s / limit:.0%} of {limit:,.0f}",
            ours.fires_per_s / limit / 0.5,
        )
    )
    if others:
        soonest = min(others, key=lambda row: row.late_p99_ms)
        lines.append(
            goal(
                2,
                "p99 lateness of that burst below every durable peer's",
                f"{ours.late_p99_ms:,.0f} ms beside {soonest.late_p99_ms:,.0f} of {soonest.name}",
                soonest.late_p99_ms / ours.late_p99_ms,
                least=False,
            )
        )
    if (daily := rows.get("campaignd, daily")) is not None:
        share = daily.fires_per_s / ours.fires_per_s
        lines.append(
            goal(
                5,
                "10,000 daily campaigns at one instant, at least 70% of the one-off rate",
                f"{daily.fires_per_s:,.0f} fires/s, {share:.0%}",
                share / 0.7,
            )
        )
    return "\n".join(lines)


def sparse_section(rounds: Sequence[tuple[Lateness, Lateness]]) -> Section:
    """Goal 3."""
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
    """Goal 4."""
    lines = [
        [
            row.name,
            *(f"{rate / 1000:,.0f}k" for rate in (*row.stepping.values(), *row.after.values())),
            "" if row.rrule is None else f"{row.rrule / 1000:,.1f}k",
        ]
        for row in rows
    ]
    slowest = min(
        (rate, row.name) for row in rows for rate in (*row.stepping.values(), *row.after.values())
    )
    ages = list(rows[0].stepping)
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
    """Goal 6, the schedules."""
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
    """Goal 7, the footprint."""
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
    """Goal 8."""
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
    """Goal 9."""
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


def where_section(found: Where) -> Section:
    """No goal, but the reason for some."""
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
    """Goal 7, the million."""
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


def history_section(rows: Sequence[Measured]) -> Section:
    """Goal 6, the runs."""
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
    page: Path, sections: Sequence[Section], shown: Mapping[str, str], load: float, repeat: int
) -> None:
    """Replace the blocks of these parts, and the summary of every goal line on the page."""
    text = page.read_text("utf-8")
    for section in sections:
        stamp = (
            f"Measured {datetime.now(UTC):%Y-%m-%d}, medians of {repeat}; {os.cpu_count()}"
            f" processors ({platform.machine()}), load {load:.1f} before it,"
            f" niceness {os.nice(0)}, Python"
            f" {platform.python_version()}, PostgreSQL {shown['server_version']},"
            f" fsync {shown['fsync']}, synchronous_commit {shown['synchronous_commit']}."
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
