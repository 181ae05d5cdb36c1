"""Compare the cost and the speed of this checkout with another one, in turn on one server.

Each round measures both checkouts, without and with the API, in a new database each:

- cold start to `ready`, resident memory and processor time while idle (`footprint.py`).
- a burst of one-off campaigns with a no-op target (`durable_fire.py`).
- sparse load (`sparse.py`).

Printed are the medians over the rounds, and the ratio of this checkout to the other one. The other
checkout needs a `.venv` with its daemon, and `benchmarks/noop`.

Usage: python benchmarks/compare.py OTHER [--repeat N] [--burst N] [--seconds S] [--idle S]
           [--api no|yes|both] [--url URL] [--json]
"""

from __future__ import annotations

import json
import os
import statistics
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import footprint
from database import argument_parser, database, server
from durable_fire import measure_campaignd
from processes import THIS, Checkout
from sparse import measure_sparse

STORED = 1_000
RATE = 100
LEAD_S = 12
"""Seconds that a daemon has to become ready, even on a busy machine."""
FIGURES = {
    "ready_s": "cold start to ready, s",
    "idle_cpu": "idle processor, %",
    "idle_mb": "idle memory, MB",
    "fires_per_s": "burst, fires/s",
    "late_p50_ms": "burst, p50 ms",
    "late_p99_ms": "burst, p99 ms",
    "cpu_us": "burst, processor us/fire",
    "peak_mb": "burst, peak memory, MB",
    "after_mb": "memory after the burst, MB",
    "sparse_p50_ms": "sparse, p50 ms",
    "sparse_p99_ms": "sparse, p99 ms",
}
MORE_IS_BETTER = {"fires_per_s"}


def measure(url: str, checkout: Checkout, given: Namespace, *, api: bool) -> dict[str, float]:
    """Return the figures of one checkout in one round."""
    with database(url, "compare_idle") as own:
        footprint.store(own, STORED, checkout=checkout)
        idle = footprint.measure(own, STORED, api=api, idle_s=given.idle, checkout=checkout)
    with database(url, "compare_burst") as own:
        burst = measure_campaignd(own, given.burst, api=api, checkout=checkout, lead=LEAD_S)
    with database(url, "compare_sparse") as own:
        sparse = measure_sparse(own, RATE, given.seconds, api=api, checkout=checkout, lead=LEAD_S)
    assert burst.cpu_us is not None
    assert burst.peak_mb is not None
    assert burst.after_mb is not None
    return {
        "ready_s": idle.ready_s,
        "idle_cpu": idle.idle_cpu * 100,
        "idle_mb": idle.idle_mb,
        "fires_per_s": burst.fires_per_s,
        "late_p50_ms": burst.late_p50_ms,
        "late_p99_ms": burst.late_p99_ms,
        "cpu_us": burst.cpu_us,
        "peak_mb": burst.peak_mb,
        "after_mb": burst.after_mb,
        "sparse_p50_ms": sparse.p50_ms,
        "sparse_p99_ms": sparse.p99_ms,
    }


def ratio_column(key: str, this: Sequence[float], other: Sequence[float]) -> str:
    """Return the ratio of the medians; of several rounds, also whether their ranges overlap."""
    ratio = statistics.median(this) / max(statistics.median(other), 1e-9)
    if len(this) == 1:
        return f"{ratio:.3f}"
    if min(this) <= max(other) and min(other) <= max(this):
        return f"{ratio:.3f}  within the spread"
    better = (ratio > 1) == (key in MORE_IS_BETTER)
    return f"{ratio:.3f}  {'better' if better else 'worse'} in every round"


def print_table(
    api: bool, this: Sequence[dict[str, float]], other: Sequence[dict[str, float]]
) -> None:
    """Print the medians and ranges of both checkouts and their ratios."""
    print(f"\nrun{'' if api else ' --no-api'}, medians of {len(this)} (least - most)")
    print(f"{'':<28}{'this':>28}{'other':>28}   ratio")
    for key, title in FIGURES.items():
        cells, sides = "", []
        for rounds in (this, other):
            values = [row[key] for row in rounds]
            sides.append(values)
            median, least, most = (
                f"{figure:,.2f}" if figure < 1_000 else f"{figure:,.0f}"
                for figure in (statistics.median(values), min(values), max(values))
            )
            cells += f"{median} ({least} - {most})".rjust(28)
        print(f"{title:<28}{cells}   {ratio_column(key, *sides)}")


def main() -> None:
    """Measure both checkouts in turn and print the medians and ratios."""
    parser = argument_parser(__doc__)
    parser.add_argument("other", type=Path, help="directory of the other checkout")
    parser.add_argument("--repeat", type=int, default=5, help="rounds for each median")
    parser.add_argument("--burst", type=int, default=10_000, help="campaigns due at once")
    parser.add_argument("--seconds", type=int, default=10, help="duration of the sparse load")
    parser.add_argument("--idle", type=float, default=10, help="seconds without work")
    parser.add_argument("--api", choices=("no", "yes", "both"), default="both")
    parser.add_argument("--json", action="store_true", help="print every round as one object")
    given = parser.parse_args()
    checkouts = {"this": THIS, "other": Checkout.at(given.other)}
    kinds = {"no": [False], "yes": [True], "both": [False, True]}[given.api]
    found: dict[bool, dict[str, list[dict[str, float]]]] = {
        api: {name: [] for name in checkouts} for api in kinds
    }
    with server(given.url) as url:
        for number in range(given.repeat):
            # The order alternates, so that neither checkout always runs on the warmer machine.
            for name in sorted(checkouts, reverse=number % 2 == 0):
                for api in kinds:
                    row = measure(url, checkouts[name], given, api=api)
                    found[api][name].append(row)
                    if given.json:
                        print(json.dumps({"round": number, "checkout": name, "api": api} | row))
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end")
    for api, rounds in found.items():
        print_table(api, rounds["this"], rounds["other"])


if __name__ == "__main__":
    main()
