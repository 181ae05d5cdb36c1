"""What a daemon costs: memory, processor time while idle, and how soon it is ready.

Each row is one `campaignd run` on a fresh database, by default without the API:

- ready: from the start of the process to its log line `ready`.
- idle: resident memory and processor time of the daemon, and processor time of the server, over
  the seconds after it. What is stored is due next month.
- peak: the most resident memory that the kernel noted while a burst ran that was due at once.

Usage: python benchmarks/footprint.py [--stored 1000,100000,1000000] [--burst N] [--idle S] [--api]
           [--starts N] [--url URL] [--json]
Without --url an embedded server is made for it and removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg
from ground import CAMPAIGND, database, insert_one_offs, server

from storage.migrate import upgrade

LONGEST_S = 600
MB = 2**20


@dataclass(frozen=True)
class Footprint:
    """What one daemon cost."""

    stored: int
    api: bool
    ready_s: float
    idle_mb: float
    idle_cpu: float
    """Cores; 0.01 is one hundredth of one."""
    server_cpu: float
    burst: int
    peak_mb: float | None = None


class Process:
    """One `campaignd run`, ready."""

    def __init__(self, url: str, api: bool) -> None:
        env = {key: value for key, value in os.environ.items() if not key.startswith("CAMPAIGND_")}
        env |= {"CAMPAIGND_DATABASE_URL": url, "CAMPAIGND_API__PORT": "0"}
        self.log = tempfile.NamedTemporaryFile()  # noqa: SIM115 - lives as long as the process
        began = time.monotonic()
        command = [CAMPAIGND, "run", *([] if api else ["--no-api"])]
        self.process = subprocess.Popen(command, env=env, stderr=self.log, cwd="/")
        self.wait(lambda: '"event":"ready"' in Path(self.log.name).read_text())
        self.ready_s = time.monotonic() - began
        self.of = psutil.Process(self.process.pid)

    def wait(self, holds: Callable[[], object]) -> None:
        """Until something holds, as long as the process lives."""
        deadline = time.monotonic() + LONGEST_S
        while not holds():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(Path(self.log.name).read_text()[-5000:])
            time.sleep(0.005)

    def resident_mb(self) -> float:
        """Now, with what its children have."""
        all_of_them = [self.of, *self.of.children(recursive=True)]
        return float(sum(each.memory_info().rss for each in all_of_them)) / MB

    def rest(self) -> None:
        """From now on the peak is counted."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_mb(self) -> float:
        """The most since then."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return self.resident_mb()

    def end(self) -> None:
        """As an operator ends it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.log.close()


@contextmanager
def running(url: str, *, api: bool = False) -> Iterator[Process]:
    """A daemon, from ready to stopped."""
    process = Process(url, api)
    try:
        yield process
    finally:
        process.end()


def measure(
    url: str, stored: int, *, api: bool = False, idle_s: float = 10, burst: int = 0, starts: int = 1
) -> Footprint:
    """Store that many, start, wait, and let a burst run if one is asked for.

    Args:
        url: an empty database.
        stored: one-off schedules due next month.
        api: with the HTTP interface.
        idle_s: how long nothing happens.
        burst: how many more are due at one instant.
        starts: of how many starts `ready_s` is the median.
    """
    upgrade(url)
    with psycopg.connect(url, autocommit=True) as connection:
        insert_one_offs(connection, stored, datetime.now(UTC) + timedelta(days=30))
        connection.execute("VACUUM ANALYZE")
        backend = psutil.Process(connection.info.backend_pid)
        postmaster = backend.parent() or backend
        ready = []
        for _ in range(starts - 1):
            with running(url, api=api) as process:
                ready.append(process.ready_s)
        with running(url, api=api) as process:
            ready.append(process.ready_s)
            # The first heartbeats and looks are behind it then.
            time.sleep(2)
            began, before, theirs = time.monotonic(), used(process.of), used(postmaster)
            time.sleep(idle_s)
            took = time.monotonic() - began
            cpu, server_cpu = used(process.of) - before, used(postmaster) - theirs
            idle_mb = process.resident_mb()
            process.rest()
            peak = let_burst(connection, process, burst) if burst else None
    return Footprint(
        stored,
        api,
        round(statistics.median(ready), 3),
        round(idle_mb, 1),
        round(cpu / took, 4),
        round(server_cpu / took, 4),
        burst,
        None if peak is None else round(peak, 1),
    )


def let_burst(connection: psycopg.Connection, process: Process, count: int) -> float:
    """Campaigns due at one instant, written while the daemon runs; its peak when all are done."""
    due = datetime.now(UTC) + timedelta(seconds=4 + count / 20_000)
    (last,) = connection.execute("SELECT max(id) FROM campaigns").fetchone() or (0,)
    insert_one_offs(connection, count, due)
    if datetime.now(UTC) > due:
        raise SystemExit("the machine was too slow to write the burst in time")
    left = "SELECT 1 FROM campaigns WHERE id > %s AND status <> 'completed' LIMIT 1"
    while datetime.now(UTC) < due:
        time.sleep(0.05)
    process.wait(lambda: connection.execute(left, (last,)).fetchone() is None)
    return process.peak_mb()


def used(process: psutil.Process) -> float:
    """Processor seconds so far, children included."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        times = each.cpu_times()
        total += times.user + times.system
    return total


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every size and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stored", default="1000,100000,1000000", help="sizes")
    parser.add_argument("--burst", type=int, default=0, help="due at once, with each size")
    parser.add_argument("--idle", type=float, default=10, help="seconds")
    parser.add_argument("--starts", type=int, default=3, help="ready is their median")
    parser.add_argument("--api", action="store_true", help="with the HTTP interface")
    parser.add_argument("--url", help="of a PostgreSQL server, as a superuser")
    parser.add_argument("--json", action="store_true", help="one object a row")
    given = parser.parse_args(arguments)
    if not given.json:
        print(
            f"{'stored':>10}{'ready s':>9}{'idle MB':>9}{'idle CPU':>10}{'server CPU':>12}"
            f"{'burst':>9}{'peak MB':>9}"
        )
    with server(given.url) as url:
        for stored in map(int, given.stored.split(",")):
            with database(url, "footprint") as own:
                row = measure(
                    own,
                    stored,
                    api=given.api,
                    idle_s=given.idle,
                    burst=given.burst,
                    starts=given.starts,
                )
            if given.json:
                print(json.dumps(asdict(row)), flush=True)
            else:
                peak = "-" if row.peak_mb is None else f"{row.peak_mb:.1f}"
                print(
                    f"{row.stored:>10}{row.ready_s:>9.2f}{row.idle_mb:>9.1f}{row.idle_cpu:>10.2%}"
                    f"{row.server_cpu:>12.2%}{row.burst:>9}{peak:>9}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
