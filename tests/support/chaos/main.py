"""The long form of the chaos test: episodes until enough faults have been injected, then a report.

Usage: python -m tests.support.chaos.main [--rounds N] [--nodes N] [--seed N] [--length S]
    [--only KIND]
Exits with 1 if anything was lost, doubled, stuck or wrong.

To repeat one episode: --seed N --rounds 1.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.support.chaos import namespaces, nemesis
from tests.support.chaos.episode import Report, run_episode
from tests.support.chaos.server_faults import limit_write_ahead_log, mount_small_disk
from tests.support.postgres import private_server
from tests.support.standby import standby_of


def main() -> int:
    """Run episodes and print a report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--length", type=float, default=40.0)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", action="append", choices=sorted(nemesis.KINDS))
    parser.add_argument("--logs", type=Path)
    parser.add_argument(
        "--standby", action="store_true", help="two servers, one fails over to the other"
    )
    given = parser.parse_args()
    print(f"first seed {given.seed}, {given.nodes} nodes", flush=True)
    reports: list[Report] = []
    with contextlib.ExitStack() as stack:
        switch = (
            None
            if namespaces.why_no_namespaces()
            else stack.enter_context(namespaces.network_switch(given.nodes))
        )
        disk = None
        if not given.standby:
            with contextlib.suppress(OSError):
                disk = stack.enter_context(mount_small_disk())
        cannot = nemesis.impossible_kinds(
            is_wired=switch is not None, has_small_disk=disk is not None
        )
        for kind, reason in cannot.items():
            print(f"not here: {kind}: {reason}", flush=True)
        if given.only and set(given.only) <= set(cannot):
            parser.error("nothing of what --only names can be done here")
        shared = None if given.standby else stack.enter_context(private_server(disk))
        if shared is not None:
            limit_write_ahead_log(shared.url)
        while sum(report.rounds for report in reports) < given.rounds:
            seed = given.seed + len(reports)
            with contextlib.ExitStack() as own:
                folder = own.enter_context(tempfile.TemporaryDirectory(prefix="campaignd-chaos-"))
                directory = Path(folder)
                server = shared or own.enter_context(private_server())
                standby = own.enter_context(standby_of(server)) if given.standby else None
                if given.logs:
                    directory = given.logs / str(seed)
                    directory.mkdir(parents=True, exist_ok=True)
                report = run_episode(
                    server,
                    directory,
                    seed,
                    nodes=given.nodes,
                    length=given.length,
                    scale=given.scale,
                    kinds=given.only,
                    switch=switch,
                    disk=disk,
                    standby=standby,
                )
            reports.append(report)
            print(report, flush=True)
            for problem in report.found.problems()[:20]:
                print("   ", problem[:1500], flush=True)
    return _print_report(reports)


def _print_report(reports: list[Report]) -> int:
    faults = sum((report.faults for report in reports), Counter[str]())
    edits = sum((report.edits for report in reports), Counter[str]())
    runs = sum((report.found.runs for report in reports), Counter[str]())
    print(f"\n{len(reports)} episodes, {sum(faults.values())} rounds of the nemesis:")
    left_out = sum((report.left_out for report in reports), Counter[str]())
    for counted in (faults, edits, runs):
        print("   ", ", ".join(f"{name} {count}" for name, count in sorted(counted.items())))
    if left_out:
        print(f"    left out, not possible here: {dict(left_out)}")
    for name in ("lost", "unexpected", "doubled", "stuck", "wrong"):
        print(f"{name:>12}: {sum(len(getattr(report.found, name)) for report in reports)}")
    print(f"  take-overs: {sum(report.found.takeovers for report in reports)}")
    print(f" occurrences: {sum(report.found.occurrences for report in reports)} checked")
    print(
        f"  deliveries: {sum(report.deliveries for report in reports)}, of runs delivered more than"
        f" once: {sum(report.found.repeated_deliveries for report in reports)}"
    )
    return 0 if all(report.found.is_good for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
