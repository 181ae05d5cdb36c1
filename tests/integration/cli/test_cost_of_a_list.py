"""A list of campaigns costs little more than the libraries it needs, and loads none in vain."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.in_process import Call, environment_of

CAMPAIGND = Path(sys.executable).with_name("campaignd")
LIBRARIES = "import psycopg, sqlalchemy.ext.asyncio, typer"
FACTOR = 1.6
"""About half a second of processor on a machine that loads the libraries in 0.3 s."""
_SCRIPT = """
import sys
from daemon.cli.main import invoke
assert invoke(["campaigns"]) == 0
unused = ("aiohttp", "alembic", "apscheduler", "daemon.campaign_service", "fastapi")
unused += ("humanize", "kombu", "rich", "structlog", "storage.campaigns", "tzlocal", "uvicorn")
print([name for name in unused if name in sys.modules])
"""


def test_a_list_loads_nothing_that_it_does_not_use(loaded: Call, database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=environment_of(database_url, Path(os.devnull)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.measured
@pytest.mark.alone
def test_a_list_costs_little_more_than_its_libraries(
    loaded: Call, database_url: str, tmp_path: Path
) -> None:
    """The least of five calls by turns, so that another process of the machine does not decide."""
    env = environment_of(database_url, tmp_path)
    lists, libraries = [], []
    for _ in range(5):
        lists.append(_processor_s([str(CAMPAIGND), "campaigns"], env))
        libraries.append(_processor_s([sys.executable, "-c", LIBRARIES], env))
    assert min(lists) <= FACTOR * min(libraries), (lists, libraries)


def _processor_s(command: list[str], env: dict[str, str]) -> float:
    """Return the processor time of a command, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
