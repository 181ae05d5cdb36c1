"""What every measurement stands on: a server, databases, daemons, and what they use."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg

from daemon.domain.schedule.timezones import tzdata_version
from storage.embedded import embedded_postgres

CAMPAIGND = Path(sys.executable).with_name("campaignd")
HERE = Path(__file__).parent
LONGEST_S = 300
SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")

# --- the server ---------------------------------------------------------------------------------


@contextmanager
def server(url: str | None = None) -> Iterator[str]:
    """The server given, or an embedded one with the durability that PostgreSQL has by default."""
    if url is not None:
        yield url
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # and cleaned up
    top = Path(tempfile.mkdtemp(prefix="campaignd-bench-"))
    top.chmod(0o711)
    try:
        with embedded_postgres(top) as made:
            yield made
    finally:
        shutil.rmtree(top, ignore_errors=True)


@contextmanager
def database(url: str, name: str) -> Iterator[str]:
    """A new database on that server, dropped afterwards."""
    name = f"{name}_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def one(connection: psycopg.Connection[Any], statement: str, *binds: Any) -> Any:
    """The only value."""
    row = connection.execute(statement.encode(), binds or None).fetchone()
    assert row is not None
    return row[0]


def facts(url: str) -> dict[str, str]:
    """What the server says of itself; the durability first of all."""
    with psycopg.connect(url) as connection:
        return {name: one(connection, f"SHOW {name}") for name in SHOWN}


def settle(connection: psycopg.Connection[Any]) -> None:
    """Every system is measured on tables that the planner knows, and none pays for another."""
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


def done_at(connection: psycopg.Connection[Any], left: str, poll: float) -> float:
    """When a count was first seen to be zero: the last durable completion, visible to others."""
    deadline = time.monotonic() + LONGEST_S
    while one(connection, left):
        if time.monotonic() > deadline:
            raise SystemExit(f"not done after {LONGEST_S} s: {left}")
        time.sleep(poll)
    return time.time()


def poll_for(count: int) -> float:
    """How often to look: often enough for the figure, seldom enough not to be in the way."""
    return 0.005 if count <= 1_000 else 0.02


def sleep_until(instant: float) -> None:
    """By the wall clock."""
    while (left := instant - time.time()) > 0:
        time.sleep(left)


# --- what is stored -----------------------------------------------------------------------------

CAMPAIGNS = """
INSERT INTO campaigns (name, type, status, more_to_come, target)
SELECT 'campaign ' || n, %(type)s, 'scheduled', true, %(target)s
FROM generate_series(1, %(count)s::integer) AS n
"""
ONCE = """
INSERT INTO schedule_definitions (
    campaign_id, revision, source, body, kind, timezone, tzdata, anchor_at,
    anchor_local, misfire_grace_time, "coalesce", overlap)
SELECT id, nextval('schedule_revision_seq'), 'schedule', '{}', 'once', 'UTC', %(tzdata)s,
       at, at AT TIME ZONE 'UTC', 36000, true, 'skip'
FROM (SELECT id, %(due)s::timestamptz + row_number() OVER (ORDER BY id) * %(apart)s::interval AS at
      FROM campaigns c
      WHERE NOT EXISTS (SELECT FROM schedule_definitions d WHERE d.campaign_id = c.id)) AS c
"""
DAILY = """
INSERT INTO schedule_definitions (
    campaign_id, revision, source, body, kind, timezone, tzdata, anchor_at, anchor_local,
    frequency, repeat_interval, first_on, time_of_day, weekdays, skip,
    misfire_grace_time, "coalesce", overlap)
SELECT id, nextval('schedule_revision_seq'), 'schedule', '{}', 'recurring', 'UTC', %(tzdata)s,
       at, at AT TIME ZONE 'UTC', 'daily', 1, (at AT TIME ZONE 'UTC')::date,
       (at AT TIME ZONE 'UTC')::time, '{}', 'backward', 36000, true, 'skip'
FROM (SELECT id, %(due)s::timestamptz AS at FROM campaigns) AS c
"""
TIMERS = """
INSERT INTO timers (campaign_id, revision, fire_at, local, kind)
SELECT campaign_id, revision, anchor_at, anchor_local, 'fire' FROM schedule_definitions
ON CONFLICT DO NOTHING
"""


def insert_one_offs(
    connection: psycopg.Connection[Any],
    count: int,
    due: datetime,
    target: str = "log",
    apart: timedelta = timedelta(0),
) -> None:
    """Scheduled one-off campaigns, due at one instant, or from then on one after the other."""
    binds = {"count": count, "due": due, "apart": apart, "type": "one_time", "target": target}
    _insert(connection, (CAMPAIGNS, ONCE, TIMERS), binds)


def insert_daily(
    connection: psycopg.Connection[Any], count: int, due: datetime, target: str = "log"
) -> None:
    """Daily campaigns at the time of day of the instant given, which is their first."""
    binds = {"count": count, "due": due, "type": "recurring", "target": target}
    _insert(connection, (CAMPAIGNS, DAILY, TIMERS), binds)


def _insert(
    connection: psycopg.Connection[Any], statements: Sequence[str], binds: Mapping[str, Any]
) -> None:
    with connection.transaction():
        for statement in statements:
            connection.execute(statement.encode(), {**binds, "tzdata": tzdata_version()})


# --- processes ----------------------------------------------------------------------------------


class Footprint:
    """Memory and processor time of a process and its children."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.idle_mb = 0.0
        self._cpu = 0.0

    def _all(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def rest(self) -> None:
        """Now it is idle: what comes after is the work's."""
        processes = self._all()
        self.idle_mb = self.resident_mb()
        self._cpu = self._cpu_s()
        for each in processes:
            Path(f"/proc/{each.pid}/clear_refs").write_text("5")  # the peak is counted from here

    def resident_mb(self) -> float:
        """Now."""
        return float(sum(each.memory_info().rss for each in self._all())) / 2**20

    def peak_mb(self) -> float:
        """The most that was resident since then; of several processes, the sum of their peaks."""
        total = 0
        for each in self._all():
            status = Path(f"/proc/{each.pid}/status").read_text()
            total += int(status.split("VmHWM:")[1].split()[0])
        return total / 1024

    def cpu_s(self) -> float:
        """Processor seconds since then."""
        return self._cpu_s() - self._cpu

    def _cpu_s(self) -> float:
        return sum(sum(each.cpu_times()[:2]) for each in self._all())


class Daemon:
    """One `campaignd run --no-api`, ready; its log goes to a file."""

    def __init__(self, url: str, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        env = {key: value for key, value in os.environ.items() if not key.startswith("CAMPAIGND_")}
        env |= {"CAMPAIGND_DATABASE_URL": url, **(settings or {})}
        self.log = folder / "daemon.log"
        began = time.perf_counter()
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [CAMPAIGND, "run", "--no-api"], env=env, stderr=stream, cwd="/"
            )
        while b'"event":"ready"' not in self.log.read_bytes():
            if self.process.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.005)
        self.ready_s = time.perf_counter() - began
        self.footprint = Footprint(self.process.pid)

    def stop(self) -> None:
        """Stop the processes as a service manager does; kill those that do not end."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise SystemExit("campaignd did not stop") from None


@contextmanager
def daemon(url: str, folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Daemon]:
    """`campaignd run --no-api` from ready to stopped."""
    with ExitStack() as stack:
        running = Daemon(url, folder, settings)
        stack.callback(running.stop)
        yield running


def noop_target(folder: Path) -> dict[str, str]:
    """Settings of a daemon whose target `noop` does nothing but note the times."""
    config = folder / "campaignd.toml"
    config.write_text(
        '[targets.noop]\ntype = "plugin"\nplugin = "bench_noop"\nconcurrency = 2\n'
        f'options = {{ times = "{folder / "times"}" }}\n'
    )
    path = os.pathsep.join([str(HERE / "noop"), os.environ.get("PYTHONPATH", "")])
    return {"CAMPAIGND_CONFIG": str(config), "PYTHONPATH": path.strip(os.pathsep)}


def noop_times(folder: Path) -> list[tuple[float, float]]:
    """When each run was due and when its attempt began, once the daemon has stopped."""
    times = array("d", (folder / "times").read_bytes())
    return list(zip(times[::2], times[1::2], strict=True))


def utc(instant: float) -> datetime:
    """A wall-clock time as what PostgreSQL takes."""
    return datetime.fromtimestamp(instant, UTC)
