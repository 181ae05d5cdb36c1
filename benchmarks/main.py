"""Run the measurements part by part on one server; write tables, plot and docs/performance.md.

Parts: bursts (campaignd, its peers, the raw SQL limit), sparse, next, stored, memory, bulk,
webhook, where (the time of a burst goes). Two parts take long, and run only on request: backlog
(1,000,000 due at once) and history (10,000 beside 10,000,000 runs stored). docs/performance.md
describes each part. A part's figures replace its block of that page as soon as it has ended.

Usage: python benchmarks/main.py [--parts PART,...] [--all] [--repeat N] [--sizes N,...]
           [--peers NAME,...] [--dry] [--url URL]
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from bursts import measure_bursts
from database import (
    Measured,
    argument_parser,
    database,
    in_new_database,
    server,
    server_settings,
)
from durable_fire import LEAD_S
from peer_installation import Unavailable, versions
from peers import PEERS, Peer
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
    stamp,
    stored_section,
    webhook_section,
    where_section,
    write,
)

PAGE = HERE.parent / "docs" / "performance.md"
FEW, MANY = 1_000, 1_000_000
"""Stored schedules."""


@dataclass(frozen=True)
class Session:
    """The server and the options of this call."""

    url: str
    repeat: int
    sizes: Sequence[int]
    peers: Sequence[Peer]
    skipped: dict[str, str]
    """Why a peer is not installed, by its name."""

    def in_new_database(
        self, function: Callable[..., Measured], *arguments: Any, lead: float = LEAD_S
    ) -> Measured:
        """Call a measuring function with the URL of a new database, the arguments and the lead."""
        return in_new_database(
            self.url, "bench", lambda own, lead: function(own, *arguments, lead=lead), lead
        )


def bursts(session: Session) -> Section:
    """Measure bursts of all systems."""
    measured = measure_bursts(
        session.url, session.sizes, session.repeat, session.peers, session.skipped
    )
    return bursts_section(measured, session.peers, versions())


def sparse_load(session: Session) -> Section:
    """Measure 100 fires a second."""
    rounds = []
    for _ in range(session.repeat):
        bare = sparse.measure_bare(100, 10)
        rounds.append((session.in_new_database(sparse.measure_sparse, 100, 10), bare))
    return sparse_section(rounds)


def next_occurrence(session: Session) -> Section:
    """Measure every kind of recurrence at every age."""
    del session
    return next_section(list(recurrence.measure(0.1, (0, 5, 50))))


def stored(session: Session) -> Section:
    """Measure cold start and idle daemons with few and with many stored schedules."""
    starts: dict[int, list[float]] = {FEW: [], MANY: []}
    idle: dict[tuple[int, bool], list[footprint.Footprint]] = {
        (FEW, False): [],
        (FEW, True): [],
        (MANY, False): [],
    }
    with database(session.url, "bench_few") as few, database(session.url, "bench_many") as many:
        urls = {FEW: few, MANY: many}
        for count, own in urls.items():
            footprint.store(own, count)
        for _ in range(2 * session.repeat + 1):
            for count, took in starts.items():
                took.append(footprint.measure_start(urls[count]))
        for _ in range(session.repeat):
            for (count, api), rows in idle.items():
                rows.append(footprint.measure(urls[count], count, api=api, idle_s=6))
    return stored_section(starts, [footprint.median_footprint(rows) for rows in idle.values()])


def memory(session: Session) -> Section:
    """Measure the memory without and with the API."""

    def measure(url: str, api: bool, *, lead: float) -> footprint.Footprint:
        footprint.store(url, 100_000)
        return footprint.measure(url, 100_000, api=api, idle_s=2, burst=10_000, lead=lead)

    return memory_section([session.in_new_database(measure, api) for api in (False, True)])


def bulk_commands(session: Session) -> Section:
    """Measure import and preview."""
    imports, previews = [], []
    for _ in range(session.repeat):
        with database(session.url, "bench_import") as own:
            imports.append(bulk.measure_import(own, 20_000))
        previews.append(bulk.measure_preview(50_000))
    return bulk_section(imports, previews)


def webhooks(session: Session) -> Section:
    """Measure webhooks beside a bare client."""
    posts, concurrency = 5_000, 32
    rounds = []
    with webhook.receiver() as address:
        for _ in range(session.repeat):
            bare = webhook.measure_bare(address, posts, concurrency)
            ours = session.in_new_database(webhook.measure_webhook, address, posts, concurrency)
            rounds.append((ours, bare))
    return webhook_section(rounds, posts, concurrency)


def where_time_goes(session: Session) -> Section:
    """Profile one burst."""
    try:
        return where_section(session.in_new_database(where.measure_where, 20_000))
    except Unavailable as why:
        return Section("where", f"Skipped: {why}.", once=True)


def long_backlog(session: Session) -> Section:
    """Measure a million campaigns due at once."""
    with database(session.url, "bench_backlog") as own:
        return backlog_section(backlog.measure_backlog(own, 1_000_000))


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


def install(peers: Sequence[Peer]) -> dict[str, str]:
    """Install the peers before anything is measured; return why some are not, by their names."""
    skipped = {}
    for peer in peers:
        try:
            peer.interpreter()
        except Unavailable as why:
            skipped[peer.name] = str(why)
            print(f"{peer.name} skipped: {why}", flush=True)
    return skipped


def measure_part(part: str, session: Session, *, dry: bool) -> bool:
    """Measure one part, print it, and write it into the page; return whether that worked."""
    load = os.getloadavg()[0]
    try:
        section = PARTS[part](session)
    except SystemExit as why:  # the other parts are measured all the same
        print(f"{part} failed: {why}", flush=True)
        return False
    shown = stamp(section, session.repeat, load, server_settings(session.url))
    print(f"\n## {part}\n\n{section.text}\n\n{shown}\n", flush=True)
    if not dry:
        write(PAGE, section, shown)
        if section.bars:
            try:
                draw(section.bars, PAGE.with_suffix(".svg"))
            except Unavailable as why:
                print(f"no plot: {why}", flush=True)
    return True


def main() -> None:
    """Measure the parts, print them, and write them into the page."""
    parser = argument_parser(__doc__)
    quick = ",".join(part for part in PARTS if part not in LONG)
    parser.add_argument("--parts", default=quick, help="separated by commas (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="also the parts that take long")
    parser.add_argument("--repeat", type=int, default=5, help="measurements for each median")
    parser.add_argument(
        "--sizes", default="1000,10000,100000", help="campaigns due at once (default: %(default)s)"
    )
    parser.add_argument(
        "--peers", default="", help="measure only these, by the beginnings of their names"
    )
    parser.add_argument("--dry", action="store_true", help="do not write the page")
    given = parser.parse_args()
    parts = list(PARTS) if given.all else given.parts.split(",")
    if unknown := set(parts) - PARTS.keys():
        parser.error(
            f"--parts is invalid: {', '.join(sorted(unknown))}; allowed: {', '.join(PARTS)}"
        )
    wanted = tuple(given.peers.split(","))
    peers = [peer for peer in PEERS if peer.name.startswith(wanted)]
    began = time.monotonic()
    skipped = install(peers) if "bursts" in parts else {}
    failed = []
    with server(given.url) as url:
        sizes = [int(size) for size in given.sizes.split(",")]
        session = Session(url, given.repeat, sizes, peers, skipped)
        for part in parts:
            print(f"{part} ({time.monotonic() - began:.0f} s)", flush=True)
            if not measure_part(part, session, dry=given.dry):
                failed.append(part)
    print(f"\n{time.monotonic() - began:.0f} s")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
