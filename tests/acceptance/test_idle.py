"""The cost of a daemon while no event is due does not grow with the number of schedules."""

from __future__ import annotations

import time
from datetime import timedelta

import psutil
import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.processes import Daemons
from tests.support.waiting import utc_now

pytestmark = [pytest.mark.alone, pytest.mark.measured]

IDLE_S = 10


def check_idle(
    daemons: Daemons, database: CampaignDatabase, schedules: int, *, cpu_below: float
) -> None:
    """Store ``schedules`` schedules due next month, and measure a daemon that waits."""
    began = time.monotonic()
    database.add_one_offs(schedules, utc_now() + timedelta(days=30))
    database.rows("ANALYZE")
    stored = time.monotonic() - began
    server = psutil.Process(database.one("SELECT pg_backend_pid()")).parent()
    assert server is not None

    began = time.monotonic()
    daemon = daemons.start_ready(database.url)
    took = time.monotonic() - began
    process = psutil.Process(daemon.pid)

    server_before, before, began = _cpu(server, children=True), _cpu(process), time.monotonic()
    deadline = began + IDLE_S
    while (left := deadline - time.monotonic()) > 0:
        with pytest.raises(psutil.TimeoutExpired):  # The measurement needs this time to pass.
            process.wait(left)
    elapsed = time.monotonic() - began
    cpu = (_cpu(process) - before) / elapsed
    server_cpu = (_cpu(server, children=True) - server_before) / elapsed
    resident = process.memory_info().rss / 2**20
    print(
        f"\n{schedules} schedules, stored in {stored:.1f} s: ready after {took:.2f} s,"
        f" {resident:.0f} MB resident, {cpu:.2%} of a core idle, PostgreSQL {server_cpu:.2%}"
    )
    assert took < 3
    assert resident < 150
    assert cpu < cpu_below
    assert daemon.stop() == 0
    assert daemon.events_named("database_lost") == []


def _cpu(process: psutil.Process, *, children: bool = False) -> float:
    """Return the seconds of processor time of the process and its living children."""
    total = sum(process.cpu_times()[:2])
    for child in process.children() if children else []:
        total += sum(child.cpu_times()[:2])
    return total


def test_idle_with_fifty_thousand_schedules(daemons: Daemons, database: CampaignDatabase) -> None:
    """The short form, for a machine that may be busy."""
    check_idle(daemons, database, 50_000, cpu_below=0.03)


@pytest.mark.machine
@pytest.mark.timeout(600)
def test_idle_with_a_million_schedules(daemons: Daemons, database: CampaignDatabase) -> None:
    """Ready within 3 s, below 150 MB, below 3 % of a core."""
    check_idle(daemons, database, 1_000_000, cpu_below=0.03)
