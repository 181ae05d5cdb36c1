"""Every measurement, part by part, in one run on one server; tables, plot and page from it.

Parts: bursts (campaignd, its peers, the raw SQL limit), sparse, next, stored, memory, bulk,
webhook, where (the time goes); and, only when asked for, those that take long: backlog (1,000,000
due at once) and history (10,000 beside 10,000,000 runs stored). docs/performance.md says what each
is.

Usage: python benchmarks/main.py [--parts PART,...] [--all] [--repeat N] [--sizes N,...]
           [--peers NAME,...] [--dry] [--url URL]
A part's block of docs/performance.md is replaced by what this run measured; --dry prints only.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import backlog
import bulk
import footprint
import history
import recurrence
import sparse
import webhook
import where
from durable_fire import measure_campaignd
from figures import Measured
from ground import HERE, database, facts, server
from limit import measure_limit
from peers import PEERS, Unavailable, measure_peer, python_peers
from plot import draw
from report import (
    Section,
    backlog_section,
    bulk_section,
    bursts_section,
    history_section,
    memory_section,
    next_section,
    sparse_section,
    stored_section,
    webhook_section,
    where_section,
    write,
)

PAGE = HERE.parent / "docs" / "performance.md"
SLOW_PEERS_AT = 1_000


@dataclass
class Bursts:
    """What was measured of every system, by (system, size): one entry a round."""

    found: dict[tuple[str, int], list[Measured]] = field(default_factory=dict)
    limits: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """How this run was asked for."""

    url: str
    repeat: int
    sizes: Sequence[int]
    peers: Sequence[str]

    def on(self, name: str, measure: Callable[[str], Any]) -> Any:
        """Measure in a new database."""
        with database(self.url, f"bench_{name}") as own:
            return measure(own)


def bursts(run: Run) -> Section:
    """Rounds over all systems, so that what else the machine does meets all of them."""
    all_of_it = Bursts()
    chosen = [peer for peer in PEERS if not run.peers or peer.name.split()[0] in run.peers]
    for number in range(run.repeat):
        for size in run.sizes:
            ours: list[tuple[str, dict[str, Any]]] = [("campaignd", {})]
            if size == 10_000:
                ours += [
                    ("campaignd, target log", {"target": "log"}),
                    ("campaignd, daily", {"daily": True}),
                ]
            for name, how in ours:
                row = run.on("ours", lambda own: measure_campaignd(own, size, **how))  # noqa: B023
                all_of_it.found.setdefault((name, size), []).append(row)
                print_row(number, row)
            for name in ("one-off", "daily") if size == 10_000 else ("one-off",):
                limit = measure_limit(run.url, size, daily=name == "daily")
                all_of_it.limits.setdefault((name, size), []).append(limit)
                print(f"  {number + 1}. raw SQL limit, {name}, {size}: {limit:.0f}/s", flush=True)
            for peer in chosen:
                if (peer.slow and size > SLOW_PEERS_AT) or peer.name in all_of_it.skipped:
                    continue
                try:
                    row = run.on("peer", lambda own: measure_peer(peer, own, size))  # noqa: B023
                except Unavailable as why:
                    all_of_it.skipped[peer.name] = str(why)
                    print(f"  {peer.name} skipped: {why}", flush=True)
                    continue
                all_of_it.found.setdefault((peer.name, size), []).append(row)
                print_row(number, row)
    return bursts_section(all_of_it.found, all_of_it.limits, all_of_it.skipped, PEERS)


def print_row(number: int, row: Measured) -> None:
    """Progress."""
    print(
        f"  {number + 1}. {row.name}, {row.fires}: {row.fires_per_s:.0f}/s,"
        f" p99 {row.late_p99_ms:.0f} ms",
        flush=True,
    )


def sparse_load(run: Run) -> Section:
    """100 fires a second."""
    rounds = []
    for _ in range(run.repeat):
        bare = sparse.measure_bare(100, 10)
        rounds.append((run.on("sparse", lambda own: sparse.measure_sparse(own, 100, 10)), bare))
    return sparse_section(rounds)


def next_occurrence(run: Run) -> Section:
    """Every kind of recurrence, at every age."""
    del run
    return next_section(list(recurrence.measure(0.1, (0, 5, 50))))


def stored(run: Run) -> Section:
    """Cold start and idle."""
    rows = [
        run.on(
            "stored",
            lambda own: footprint.measure(own, count, idle_s=8, starts=max(3, run.repeat)),  # noqa: B023
        )
        for count in (1_000, 1_000_000)
    ]
    return stored_section(rows)


def memory(run: Run) -> Section:
    """Without and with the API."""
    rows = [
        run.on(
            "memory",
            lambda own: footprint.measure(own, 100_000, api=api, idle_s=2, burst=10_000),  # noqa: B023
        )
        for api in (False, True)
    ]
    return memory_section(rows)


def bulk_commands(run: Run) -> Section:
    """Import and preview."""
    imports = [
        run.on("import", lambda own: bulk.measure_import(own, 20_000)) for _ in range(run.repeat)
    ]
    return bulk_section(imports, [bulk.measure_preview(50_000) for _ in range(run.repeat)])


def webhooks(run: Run) -> Section:
    """Beside a bare client."""
    return webhook_section(*webhook.measure(run.url, 5_000, 32, run.repeat), 5_000, 32)


def where_time_goes(run: Run) -> Section:
    """Of one burst."""
    try:
        return where_section(run.on("where", lambda own: where.measure_where(own, 20_000)))
    except Unavailable as why:
        return Section("where", f"Skipped: {why}.")


def long_backlog(run: Run) -> Section:
    """A million due at once."""
    return backlog_section(run.on("backlog", lambda own: backlog.measure_backlog(own, 1_000_000)))


def long_history(run: Run) -> Section:
    """Ten million runs stored."""
    return history_section(
        [
            history.measure_history(run.url, 10_000, runs, run.repeat)
            for runs in (10_000, 10_000_000)
        ]
    )


PARTS: dict[str, Callable[[Run], Section]] = {
    "bursts": bursts,
    "sparse": sparse_load,
    "next": next_occurrence,
    "stored": stored,
    "memory": memory,
    "bulk": bulk_commands,
    "webhook": webhooks,
    "where": where_time_goes,
    "backlog": long_backlog,
    "history": long_history,
}
LONG = ("backlog", "history")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts, print them, and put them into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = ",".join(part for part in PARTS if part not in LONG)
    parser.add_argument("--parts", default=usual, help="separated by commas")
    parser.add_argument("--all", action="store_true", help="also those that take long")
    parser.add_argument("--repeat", type=int, default=3, help="medians of so many")
    parser.add_argument("--sizes", default="1000,10000", help="due at once; 100000 is one more")
    parser.add_argument("--peers", default="", help="only these: first words of their names")
    parser.add_argument("--dry", action="store_true", help="leave the page as it is")
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
    given = parser.parse_args(arguments)
    wanted = list(PARTS) if given.all else given.parts.split(",")
    if unknown := set(wanted) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")

    began = time.monotonic()
    load = os.getloadavg()[0]
    sections = []
    with server(given.url) as url:
        shown = facts(url)
        run = Run(
            url,
            given.repeat,
            [int(size) for size in given.sizes.split(",")],
            [name for name in given.peers.split(",") if name],
        )
        for part in wanted:
            print(f"{part} ({time.monotonic() - began:.0f} s)", flush=True)
            sections.append(PARTS[part](run))
    for section in sections:
        print(f"\n## {section.part}\n\n{section.text}")
        if section.bars and not given.dry:
            python_peers()
            draw(section.bars, PAGE.with_suffix(".svg"))
    if not given.dry:
        write(Path(PAGE), sections, shown, load, given.repeat)
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
