"""A list of campaigns costs half a second of processor, and loads no module in vain."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.in_process import Call, environment_of

CAMPAIGND = Path(sys.executable).with_name("campaignd")
LIMIT_S = 0.5
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
def test_a_list_takes_half_a_second_of_processor_at_most(
    loaded: Call, database_url: str, tmp_path: Path
) -> None:
    """The least of five calls, so that another process of the machine does not decide."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [CAMPAIGND, "campaigns"],
            env=environment_of(database_url, tmp_path),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(costs) <= LIMIT_S, costs
