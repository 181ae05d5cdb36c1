"""A daemon that fires for a long time: its memory is bounded, and old history is pruned meanwhile.

`make acceptance` runs the short forms. With LONG_LIFE set (`make long-life`) the first test fires
as often as an installation that starts a run each second does in a week.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from storage.engine import Database
from storage.prune import Prune
from tests.support.campaign_database import CampaignDatabase
from tests.support.histories import check_histories
from tests.support.processes import Daemons, Process
from tests.support.waiting import utc_now, wait_until

LONG = bool(os.environ.get("LONG_LIFE"))
A_WEEK = 7 * 24 * 3600
SAMPLES = 40
MEASURED_DAEMON = Path(__file__).parents[1] / "support" / "measured_daemon.py"


def windows(count: int, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
    """Windows that run every second, spread over the second."""
    for number in range(count):
        begins = start + timedelta(seconds=number / count)
        body = {
            "startdate": begins.isoformat(),
            "enddate": end.isoformat(),
            "recurring_schedule": "continuously",
        }
        kind = {"name": f"window {number}", "type": "segment_triggered", "status": "scheduled"}
        yield {"campaign": kind, "schedule": body}


@dataclass
class Memory:
    """Samples of a process's memory, and how many runs had ended at each sample."""

    process: Process
    file: Path
    resident: list[int] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    fires: list[int] = field(default_factory=list)

    def sample(self, fires: int) -> None:
        """Ask for a sample and wait for it."""
        self.process.send_signal(signal.SIGUSR1)
        lines = wait_until("measured", self._answer, 30)
        self.samples.append(json.loads(lines[-1]))
        self.resident.append(psutil.Process(self.process.pid).memory_info().rss)
        self.fires.append(fires)

    @property
    def objects(self) -> list[int]:
        """The objects that the garbage collector knows, in each sample."""
        return [each["objects"] for each in self.samples]

    @property
    def traced(self) -> list[int]:
        """The bytes that tracemalloc counted, in each sample."""
        return [each["traced"] for each in self.samples]

    def _answer(self) -> list[str] | None:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return lines if len(lines) > len(self.samples) else None

    def growth(self, values: list[int]) -> float:
        """Return how much a value rises after the first third, by linear regression."""
        fires, values = self.fires[len(values) // 3 :], values[len(values) // 3 :]
        return statistics.linear_regression(fires, values).slope * (fires[-1] - fires[0])

    def __str__(self) -> str:
        last = self.samples[-1]
        first = self.samples[len(self.samples) // 3]
        more = Counter(last["types"])
        more.subtract(first["types"])
        third = len(self.samples) // 3
        lines = [f"{self.fires[-1]} runs, after the first third {self.fires[third]}"]
        for what, values in {
            "resident bytes": self.resident,
            "traced bytes": self.traced,
            "objects": self.objects,
        }.items():
            lines.append(
                f"{what}: {values[0]}, {values[third]}, {values[-1]};"
                f" {self.growth(values):+.0f} after that"
            )
        return "\n".join([*lines, f"more of {more.most_common(5)}"])


@pytest.mark.measured
@pytest.mark.alone
@pytest.mark.timeout(1800 if LONG else 600)
@pytest.mark.parametrize(
    ("fires", "a_second", "traced"),
    [
        pytest.param(60_000 if LONG else 5000, 300, "1", id="traced"),
        pytest.param(
            A_WEEK,
            1500,
            "",
            id="a week",
            marks=pytest.mark.skipif(not LONG, reason="takes long: make long-life"),
        ),
    ],
)
def test_memory_does_not_grow(
    daemons: Daemons,
    database: CampaignDatabase,
    tmp_path: Path,
    fires: int,
    a_second: int,
    traced: str,
) -> None:
    """Memory for a run and for an edit is released: what may grow does not depend on the runs.

    Every campaign runs each second; some are edited at every sample.
    """
    start = utc_now() + timedelta(seconds=10)
    end = start + timedelta(days=1)
    settings = {"scheduler__continuous_interval": 1}
    daemons.import_campaigns(database.url, windows(a_second, start, end), **settings)
    file = tmp_path / "measures"
    process = daemons.start_command(
        "run",
        env=daemons.environment(database.url, MEASURES=file, TRACED=traced, **settings),
        stderr=subprocess.DEVNULL,
        program=[sys.executable, MEASURED_DAEMON],
    )
    database.wait_until("SELECT count(*) = 1 FROM nodes", within=60)
    memory = Memory(process, file)
    sizes: list[dict[str, int]] = []
    uuids = [row["uuid"] for row in database.rows("SELECT uuid FROM campaigns")]
    ended = "SELECT coalesce(max(id), 0) FROM campaign_events"
    for number in range(1, SAMPLES + 1):
        enough = fires * number // SAMPLES
        statement = f"SELECT ({ended}) >= %s"
        database.wait_until(statement, 2 * enough, within=120)
        memory.sample(database.one("SELECT count(*) FROM runs"))
        if number in (SAMPLES // 3, SAMPLES):
            sizes.append(_sizes(database))
        for uuid in uuids[:3]:
            _edit(database, uuid)
    print(f"\n{memory}", *sizes, sep="\n")
    assert process.stop(60) == 0
    assert database.statuses("runs").keys() <= {"completed", "skipped", "missed"}
    assert memory.growth(memory.objects) < 800, str(memory)
    assert memory.growth(memory.traced) < 256 << 10, str(memory)
    assert memory.growth(memory.resident) < 4 << 20, str(memory)
    check_histories(database)
    # These tables get no new rows: a fire overwrites the rows of the one before.
    assert sum(sizes[-1].values()) < 32 << 20, sizes


def _sizes(database: CampaignDatabase) -> dict[str, int]:
    """Return the sizes of the tables of future events, with their indexes, in bytes."""
    rows = database.rows(
        "SELECT name, pg_total_relation_size(name::regclass) AS size"
        " FROM unnest('{campaigns,timers,schedule_definitions}'::text[]) AS name"
    )
    return {row["name"]: row["size"] for row in rows}


def _edit(database: CampaignDatabase, uuid: UUID) -> None:
    """Pause and start a campaign as an operator does."""
    database.run_command(lambda control: control.pause(uuid, "test"))
    database.run_command(lambda control: control.start(uuid, "test"))


KEEP = timedelta(seconds=3)


@pytest.mark.measured
def test_pruning_while_it_fires(daemons: Daemons, database: CampaignDatabase) -> None:
    """Rows are pruned beside a daemon that writes others: none is lost, none runs again."""
    seconds, count = 15, 200
    settings = {"scheduler__continuous_interval": 1}

    def end_of(start: datetime) -> datetime:
        return start.replace(microsecond=0) + timedelta(seconds=seconds)

    def store(start: datetime) -> None:
        daemons.import_campaigns(database.url, windows(count, start, end_of(start)), **settings)

    daemon, start = daemons.start_ready_before(database, store, 6, **settings)
    end = end_of(start)
    over = "SELECT count(*) = 0 FROM campaigns WHERE status <> 'completed'"
    pruned = asyncio.run(_prune_until(database, over))
    assert daemon.stop() == 0
    assert daemon.events_named("service_failed") == []
    assert daemon.events_named("database_lost") == []
    lines = [*daemon.events_named("run_finished"), *daemon.events_named("run_skipped")]
    seen = Counter((line["campaign_id"], line["scheduled_for"]) for line in lines)
    assert set(seen.values()) == {1}
    expected = {
        start + timedelta(seconds=number / count + second)
        for number in range(count)
        for second in range(seconds + 1)
    }
    expected = {at for at in expected if at <= end}
    assert {datetime.fromisoformat(at) for _, at in seen} == expected
    left = database.rows("SELECT campaign_id, scheduled_for FROM runs")
    assert len(left) + pruned == len(seen)
    assert pruned > len(seen) // 2
    newest = database.one("SELECT count(DISTINCT campaign_id) FROM runs")
    assert newest == count
    print(f"\n{len(seen)} runs, {pruned} pruned")


async def _prune_until(database: CampaignDatabase, statement: str) -> int:
    """Prune repeatedly until the statement is true; return how many runs were deleted."""
    connections = Database(database.url)
    runs = 0
    try:
        while not database.one(statement):
            async for step in Prune(connections).prune_history(KEEP):
                runs += step.runs
    finally:
        await connections.close()
    return runs
