"""The block of docs/performance.md for bursts at one instant: campaignd, the peers, the limit."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from figures import BurstFigures, median_figures
from peers import Peer
from report import Section, goal, spread, table


def bursts_section(
    found: Mapping[tuple[str, int], Sequence[BurstFigures]],
    limits: Mapping[tuple[str, int], Sequence[float]],
    skipped: Mapping[str, str],
    peers: Sequence[Peer],
) -> Section:
    """Return the tables of all systems at all sizes, the bars of the plot, and goals 1, 2 and 5.

    Args:
        found: one entry a round, by (system, size).
        limits: fires a second of the raw SQL limit, by (kind, size).
        skipped: the reason, by the name of a peer.
        peers: all peers.
    """
    parts, bars = [], {}
    rows_at: dict[int, dict[str, BurstFigures]] = {}
    for size in sorted({size for _, size in found}):
        rows = rows_at[size] = {
            name: median_figures(many) for (name, at), many in found.items() if at == size
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
    skips = [f"{name}: skipped, {why}" for name, why in skipped.items()]
    parts.append("Settings. " + ". ".join([*settings, *skips]) + ".")
    if 10_000 in rows_at:
        parts.append(_burst_goals(rows_at, limits, peers))
        late = {name: row.late_p99_ms for name, row in _ordered(rows_at[10_000])}
        bars["late p99 in ms, 10,000 at once"] = late
    return Section("bursts", "\n\n".join(parts), bars)


def _ordered(rows: Mapping[str, BurstFigures]) -> list[tuple[str, BurstFigures]]:
    return sorted(rows.items(), key=lambda item: -item[1].fires_per_s)


def _burst_goals(
    rows_at: Mapping[int, Mapping[str, BurstFigures]],
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
