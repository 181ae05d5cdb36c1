"""Run the measurements part by part on one server; write tables, plot and docs/performance.md.

Parts: bursts (campaignd, its peers, the raw SQL limit), sparse, next, stored, memory, bulk,
webhook, where (the time of a burst goes). Two parts take long, and run only on request: backlog
(1,000,000 due at once) and history (10,000 beside 10,000,000 runs stored). docs/performance.md
describes each part. This run's figures replace the part's block of that page.

Usage: python benchmarks/main.py [--parts PART,...] [--all] [--repeat N] [--sizes N,...]
           [--peers NAME,...] [--dry] [--url URL]
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import backlog
import bulk
import footprint
import history
import recurrence
import sparse
import webhook
import where
from burst_report import bursts_section
from database import argument_parser, database, server, server_settings
from durable_fire import measure_campaignd
from figures import BurstFigures
from limit import measure_limit
from peers import PEERS, Peer, Unavailable, measure_peer, python_peers
from plot import draw
from processes import HERE
from report import (
    Section,
    backlog_section,
    bulk_section,
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
"""The largest burst that slow peers are measured with."""


@dataclass
class Bursts:
    """The figures of all systems by (system, size), with one entry for each round."""

    found: dict[tuple[str, int], list[BurstFigures]] = field(default_factory=dict)
    limits: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Session:
    """The server and the options of this call."""

    url: str
    repeat: int
    sizes: Sequence[int]
    peers: Sequence[str]

    def measure(
        self, name: str, function: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """Call a measuring function with the URL of a new database and the arguments."""
        with database(self.url, f"bench_{name}") as own:
            return function(own, *arguments, **options)


def bursts(session: Session) -> Section:
    """Measure all systems in rounds, so that other load on the machine affects all of them."""
    measured = Bursts()
    peers = [peer for peer in PEERS if not session.peers or _first_word(peer) in session.peers]
    for number in range(session.repeat):
        for size in session.sizes:
            ours: list[tuple[str, dict[str, Any]]] = [("campaignd", {})]
            if size == 10_000:
                ours += [
                    ("campaignd, target log", {"target": "log"}),
                    ("campaignd, daily", {"daily": True}),
                ]
            for name, options in ours:
                row = session.measure("ours", measure_campaignd, size, **options)
                measured.found.setdefault((name, size), []).append(row)
                print_progress(number, row)
            for name in ("one-off", "daily") if size == 10_000 else ("one-off",):
                limit = measure_limit(session.url, size, daily=name == "daily")
                measured.limits.setdefault((name, size), []).append(limit)
                print(f"  {number + 1}. raw SQL limit, {name}, {size}: {limit:.0f}/s", flush=True)
            for peer in peers:
                if (peer.slow and size > SLOW_PEERS_AT) or peer.name in measured.skipped:
                    continue
                try:
                    with database(session.url, "bench_peer") as own:
                        row = measure_peer(peer, own, size)
                except Unavailable as why:
                    measured.skipped[peer.name] = str(why)
                    print(f"  {peer.name} skipped: {why}", flush=True)
                    continue
                measured.found.setdefault((peer.name, size), []).append(row)
                print_progress(number, row)
    return bursts_section(measured.found, measured.limits, measured.skipped, PEERS)


def _first_word(peer: Peer) -> str:
    return peer.name.split()[0].rstrip(",")


def print_progress(number: int, row: BurstFigures) -> None:
    """Print one burst of one round."""
    print(
        f"  {number + 1}. {row.name}, {row.fires}: {row.fires_per_s:.0f}/s,"
        f" p99 {row.late_p99_ms:.0f} ms",
        flush=True,
    )


def sparse_load(session: Session) -> Section:
    """Measure 100 fires a second."""
    rounds = []
    for _ in range(session.repeat):
        bare = sparse.measure_bare(100, 10)
        rounds.append((session.measure("sparse", sparse.measure_sparse, 100, 10), bare))
    return sparse_section(rounds)


def next_occurrence(session: Session) -> Section:
    """Measure every kind of recurrence at every age."""
    del session
    return next_section(list(recurrence.measure(0.1, (0, 5, 50))))


def stored(session: Session) -> Section:
    """Measure cold start and idle daemons with few and with many stored schedules."""
    starts = max(3, session.repeat)
    rows = [
        session.measure("stored", footprint.measure, count, idle_s=8, starts=starts)
        for count in (1_000, 1_000_000)
    ]
    return stored_section(rows)


def memory(session: Session) -> Section:
    """Measure the memory without and with the API."""
    rows = [
        session.measure("memory", footprint.measure, 100_000, api=api, idle_s=2, burst=10_000)
        for api in (False, True)
    ]
    return memory_section(rows)


def bulk_commands(session: Session) -> Section:
    """Measure import and preview."""
    imports = [
        session.measure("import", bulk.measure_import, 20_000) for _ in range(session.repeat)
    ]
    return bulk_section(imports, [bulk.measure_preview(50_000) for _ in range(session.repeat)])


def webhooks(session: Session) -> Section:
    """Measure webhooks beside a bare client."""
    return webhook_section(*webhook.measure(session.url, 5_000, 32, session.repeat), 5_000, 32)


def where_time_goes(session: Session) -> Section:
    """Profile one burst."""
    try:
        return where_section(session.measure("where", where.measure_where, 20_000))
    except Unavailable as why:
        return Section("where", f"Skipped: {why}.")


def long_backlog(session: Session) -> Section:
    """Measure a million campaigns due at once."""
    return backlog_section(session.measure("backlog", backlog.measure_backlog, 1_000_000))


def long_history(session: Session) -> Section:
    """Measure bursts with ten thousand and ten million runs stored."""
    return history_section(
        [
            history.measure_history(session.url, 10_000, runs, session.repeat)
            for runs in (10_000, 10_000_000)
        ]
    )


PARTS: dict[str, Callable[[Session], Section]] = {
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


def main() -> None:
    """Measure the parts, print them, and write them into the page."""
    parser = argument_parser(__doc__)
    quick = ",".join(part for part in PARTS if part not in LONG)
    parser.add_argument("--parts", default=quick, help="separated by commas (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="also the parts that take long")
    parser.add_argument("--repeat", type=int, default=3, help="measurements for each median")
    parser.add_argument(
        "--sizes", default="1000,10000", help="campaigns due at once (default: %(default)s)"
    )
    parser.add_argument(
        "--peers", default="", help="measure only these, by the first words of their names"
    )
    parser.add_argument("--dry", action="store_true", help="do not write the page")
    given = parser.parse_args()
    parts = list(PARTS) if given.all else given.parts.split(",")
    if unknown := set(parts) - PARTS.keys():
        parser.error(
            f"--parts is invalid: {', '.join(sorted(unknown))}; allowed: {', '.join(PARTS)}"
        )

    began = time.monotonic()
    load = os.getloadavg()[0]
    sections = []
    with server(given.url) as url:
        settings = server_settings(url)
        session = Session(
            url,
            given.repeat,
            [int(size) for size in given.sizes.split(",")],
            [name for name in given.peers.split(",") if name],
        )
        for part in parts:
            print(f"{part} ({time.monotonic() - began:.0f} s)", flush=True)
            sections.append(PARTS[part](session))
    for section in sections:
        print(f"\n## {section.part}\n\n{section.text}")
        if section.bars and not given.dry:
            python_peers()
            draw(section.bars, PAGE.with_suffix(".svg"))
    if not given.dry:
        write(PAGE, sections, settings, load, given.repeat)
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
