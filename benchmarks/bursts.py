"""Measure bursts at one instant in rounds: campaignd, its peers and the raw SQL limit by turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from database import StillFalse, TooSlow, in_new_database
from durable_fire import LEAD_S, measure_campaignd
from figures import BurstFigures
from limit import BATCHES, measure_limit
from peer_burst import measure_peer
from peer_installation import Unavailable
from peers import Peer

MAIN_SIZE = 10_000
"""The size at which campaignd is also measured with other targets, kinds and numbers of nodes."""
CUT_S = 10.0
"""Seconds after which a burst of a slow peer is cut off."""
OURS: dict[str, Callable[..., BurstFigures]] = {
    "campaignd": measure_campaignd,
    "campaignd, target log": partial(measure_campaignd, target="log"),
    "campaignd, daily": partial(measure_campaignd, daily=True),
    "campaignd, 4 nodes": partial(measure_campaignd, nodes=4),
}


@dataclass
class Bursts:
    """The figures of all systems by (system, size), with one entry for each round."""

    found: dict[tuple[str, int], list[BurstFigures]] = field(default_factory=dict)
    limits: dict[int, list[float]] = field(default_factory=dict)
    skipped: dict[tuple[str, int], str] = field(default_factory=dict)
    """Why a peer was not measured, or not in every round."""

    def add(self, number: int, name: str, row: BurstFigures) -> None:
        """Add and print the figures of one system in one round."""
        self.found.setdefault((name, row.fires), []).append(row)
        print(
            f"  {number + 1}. {name}, {row.fires}: {row.fires_per_s:.0f}/s,"
            f" p99 {row.late_p99_ms:.0f} ms, {row.cpu_us or 0:.0f} us",
            flush=True,
        )


def measure_bursts(
    url: str,
    sizes: Sequence[int],
    repeat: int,
    peers: Sequence[Peer],
    skipped: Mapping[str, str],
) -> Bursts:
    """Measure all systems in rounds, so that other load on the machine affects all of them.

    With all sizes but the smallest, a slow peer is measured once, and cut off.

    Args:
        url: the server.
        sizes: campaigns due at one instant.
        repeat: number of rounds.
        peers: the peers to measure.
        skipped: why a peer is not installed, by its name.
    """
    measured = Bursts(
        skipped={(name, size): why for name, why in skipped.items() for size in sizes}
    )
    for number in range(repeat):
        for size in sizes:
            for name, measure in OURS.items():
                if size == MAIN_SIZE or name == "campaignd":
                    row = in_new_database(url, "bench_ours", partial(measure, count=size), LEAD_S)
                    measured.add(number, name, row)
            limit = measure_limit(url, size, batches=BATCHES if size <= MAIN_SIZE else BATCHES[-1:])
            measured.limits.setdefault(size, []).append(limit)
            print(f"  {number + 1}. raw SQL limit, {size}: {limit:.0f}/s", flush=True)
            for peer in peers:
                cut_s = CUT_S if peer.slow and size > min(sizes) else None
                if (peer.name, size) in measured.skipped or (cut_s and number):
                    continue
                measure = partial(measure_peer, peer=peer, count=size, cut_s=cut_s)
                try:
                    row = in_new_database(url, "bench_peer", measure, peer.lead)
                except (Unavailable, StillFalse, TooSlow) as why:
                    measured.skipped[peer.name, size] = str(why)
                    print(f"  {peer.name}, {size} skipped: {why}", flush=True)
                else:
                    measured.add(number, peer.name, row)
    return measured
