"""The block of docs/performance.md for bursts at one instant: campaignd, the peers, the limit."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from bursts import CUT_S, MAIN_SIZE, Bursts
from figures import BurstFigures, median_figures
from peers import APSCHEDULER, Peer
from report import Section, goal, spread, table

Rows = Mapping[str, BurstFigures]
HEADS = ("", "fires/s", "campaignd / it", "late p50 / p99 / p99.9 ms", "idle / peak MB")


def bursts_section(measured: Bursts, peers: Sequence[Peer], versions: str) -> Section:
    """Return the tables of all systems at all sizes, the bars of the plot, and the goals.

    Args:
        measured: the figures.
        peers: all peers, measured or not.
        versions: the versions of the peers.
    """
    rows_at: dict[int, Rows] = {}
    for size in sorted({size for _, size in measured.found}):
        rows = {
            name: median_figures(all_) for (name, at), all_ in measured.found.items() if at == size
        }
        rows_at[size] = dict(sorted(rows.items(), key=lambda item: -item[1].fires_per_s))
    parts = [
        f"{size:,} due at once:\n\n{_table(size, rows, measured)}" for size, rows in rows_at.items()
    ]
    if any(math.isinf(row.late_max_ms) for rows in rows_at.values() for row in rows.values()):
        parts.append(
            f"A burst that had not ended after {CUT_S:.0f} s was cut off: its fires/s are those"
            " until then. A figure without a range is of one burst."
        )
    settings = [f"{peer.name}: {peer.setting}" for peer in peers]
    parts.append("Settings. " + ". ".join([*settings, *_skips(measured)]) + ".")
    parts.append(f"Versions. {versions}.")
    parts.append("\n".join(_goals(rows_at, measured, [peer.name for peer in peers])))
    return Section("bursts", "\n\n".join(parts), bars=_bars(rows_at, measured))


def _table(size: int, rows: Rows, measured: Bursts) -> str:
    ours = rows["campaignd"].fires_per_s
    lines = [
        [
            name,
            spread([each.fires_per_s for each in measured.found[name, size]]),
            f"{ours / row.fires_per_s:.2f}" if row.fires_per_s else "",
            " / ".join(map(_late, (row.late_p50_ms, row.late_p99_ms, row.late_p999_ms))),
            f"{row.idle_mb:.0f} / {row.peak_mb:.0f}",
            "" if row.cpu_us is None or math.isinf(row.cpu_us) else f"{row.cpu_us:,.1f}",
        ]
        for name, row in rows.items()
    ]
    if limits := measured.limits.get(size):
        share = ours / statistics.median(limits)
        lines.append(["raw SQL limit", spread(limits), f"{share:.2f}", "", "", ""])
    return table([*HEADS, "CPU us/fire"], lines)


def _skips(measured: Bursts) -> list[str]:
    """Return why peers were not measured, or not in every round."""
    sizes: dict[tuple[str, str], list[str]] = {}
    for (name, size), why in measured.skipped.items():
        rounds = len(measured.found.get((name, size), ()))
        size_and_rounds = f"{size:,}" + f" from round {rounds + 1} on" * (rounds > 0)
        sizes.setdefault((name, why), []).append(size_and_rounds)
    return [
        f"{name} with {', '.join(found)}: not measured, {why}"
        for (name, why), found in sizes.items()
    ]


def _late(milliseconds: float) -> str:
    if math.isinf(milliseconds):
        return f"over {CUT_S * 1000:,.0f}"
    return f"{milliseconds:,.0f}"


def _goals(rows_at: Mapping[int, Rows], measured: Bursts, peers: Sequence[str]) -> list[str]:
    lines = []
    for size, rows in rows_at.items():
        missing = ", ".join(name for name in peers if name not in rows)
        without = f", without {missing}" if missing else ""
        others = [row for name, row in rows.items() if name in peers]
        if others:
            lines += _goals_beside_peers(size, rows["campaignd"], others, without)
    if MAIN_SIZE in rows_at:
        lines += _goals_of_main_size(rows_at, measured)
    return lines


def _goals_beside_peers(
    size: int, ours: BurstFigures, others: Sequence[BurstFigures], without: str
) -> list[str]:
    best = max(others, key=lambda row: row.fires_per_s)
    soonest = min(others, key=lambda row: row.late_p99_ms)
    return [
        goal(
            1,
            f"{size:,} at one instant: more fires/s than every durable peer{without}",
            f"{ours.fires_per_s:,.0f} beside {best.fires_per_s:,.0f} of {best.name}",
            ours.fires_per_s / best.fires_per_s,
        ),
        goal(
            2,
            f"{size:,} at one instant: p99 lateness below every durable peer's{without}",
            f"{ours.late_p99_ms:,.0f} ms beside {_late(soonest.late_p99_ms)} of {soonest.name}",
            soonest.late_p99_ms / ours.late_p99_ms,
            least=False,
        ),
    ]


def _goals_of_main_size(rows_at: Mapping[int, Rows], measured: Bursts) -> list[str]:
    rows = rows_at[MAIN_SIZE]
    ours = rows["campaignd"].fires_per_s
    lines = []
    stored = [rows[APSCHEDULER.name] for rows in rows_at.values() if APSCHEDULER.name in rows]
    if stored:
        best = max(stored, key=lambda row: row.fires_per_s)
        lines.append(
            goal(
                1,
                f"{MAIN_SIZE:,} at one instant: at least 20 times the fires/s of APScheduler's"
                " SQLAlchemyJobStore",
                f"{ours / best.fires_per_s:.1f} times its {best.fires_per_s:,.0f} (its best, with"
                f" {best.fires:,})",
                ours / best.fires_per_s / 20,
            )
        )
    limit = statistics.median(measured.limits[MAIN_SIZE])
    lines.append(
        goal(
            1,
            f"{MAIN_SIZE:,} at one instant: at least 0.75 of the raw SQL limit for the same rows",
            f"{ours / limit:.2f} of {limit:,.0f}",
            ours / limit / 0.75,
        )
    )
    if (daily := rows.get("campaignd, daily")) is not None:
        share = daily.fires_per_s / ours
        lines.append(
            goal(
                5,
                f"{MAIN_SIZE:,} daily campaigns at one instant: at least 0.9 of the one-off rate",
                f"{daily.fires_per_s:,.0f} fires/s, {share:.2f}",
                share / 0.9,
            )
        )
    for name, target, most_us in (
        ("campaignd", "no-op target", 20),
        ("campaignd, target log", "target log", 25),
    ):
        if (row := rows.get(name)) is not None and row.cpu_us is not None:
            lines.append(
                goal(
                    10,
                    f"{MAIN_SIZE:,} at one instant, {target}: at most {most_us} us of the daemon's"
                    " processor time a fire",
                    f"{row.cpu_us:.1f} us",
                    most_us / row.cpu_us,
                    least=False,
                )
            )
    return lines


def _bars(rows_at: Mapping[int, Rows], measured: Bursts) -> dict[str, dict[str, float]]:
    bars = {}
    for size, rows in rows_at.items():
        rates = {name: row.fires_per_s for name, row in rows.items()}
        if limits := measured.limits.get(size):
            rates["raw SQL limit"] = statistics.median(limits)
        bars[f"fires/s, {size:,} at once"] = rates
    if MAIN_SIZE in rows_at:
        bars[f"late p99 in ms, {MAIN_SIZE:,} at once"] = {
            name: row.late_p99_ms
            for name, row in rows_at[MAIN_SIZE].items()
            if math.isfinite(row.late_p99_ms)
        }
    return bars
