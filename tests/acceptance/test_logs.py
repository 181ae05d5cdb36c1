"""Every recipe of docs/logs.md works on the log of a day with every kind of outcome."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from tests.support.campaign_database import CampaignDatabase
from tests.support.configured_targets import write_configuration
from tests.support.machines.debian import install_or_skip
from tests.support.processes import CAMPAIGND, Daemons
from tests.support.waiting import utc_now

pytestmark = [pytest.mark.machine, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
EXPLAIN, SETUP, *RECIPES, JOURNAL = re.findall(
    r"^```sh\n(.*?)^```$", (ROOT / "docs" / "logs.md").read_text("utf-8"), re.M | re.S
)


@pytest.fixture
def day(daemons: Daemons, database: CampaignDatabase) -> tuple[str, dict[str, str]]:
    """The setup of the recipes and the environment, after good, failed and late runs."""
    install_or_skip("jq", "jq")
    config = write_configuration(
        daemons,
        broken={
            "type": "command",
            "argv": ["sh", "-c", "exit 75"],
            "max_attempts": 2,
            "backoff_first": 0.1,
        },
    )
    at = utc_now() + timedelta(seconds=2)
    good = database.add_one_offs(3, at)
    bad = database.add_one_offs(1, at)
    database.rows("UPDATE campaigns SET target = 'broken' WHERE id = %s", bad[0])
    late = database.add_one_offs(1, utc_now() - timedelta(hours=3))
    daemon = daemons.start_ready(database.url, CAMPAIGND_CONFIG=config)
    database.wait_until("SELECT count(*) = 5 FROM runs WHERE finished_at IS NOT NULL")
    assert daemon.stop() == 0
    log = daemons.directory / "day.log"
    # The watchdog leaves a stack in the journal.
    log.write_bytes(
        b"\n".join([daemon.lines[0], b"Fatal Python error: Aborted", *daemon.lines[1:]])
    )
    missed = database.one("SELECT scheduled_for FROM runs WHERE campaign_id = %s", late[0])
    asked = f"{missed.astimezone(UTC):%FT%T}"
    setup = SETUP.replace("campaign=7", f"campaign={late[0]}")
    setup = setup.replace("at=2026-11-20T09:00", f"at={asked}").replace("day.log", str(log))
    assert good
    return setup, daemons.environment(database.url)


def test_recipes(day: tuple[str, dict[str, str]]) -> None:
    """Each recipe runs and prints the expected line."""
    setup, env = day
    expected = [
        '"event":"run_missed"',
        '"ready"',
        '"run_missed"',
        '3 "run_finished"',
        '["broken",',
        None,
        '"broken"',
        ",1,",
    ]
    assert len(expected) == len(RECIPES)
    for recipe, wanted in zip(RECIPES, expected, strict=True):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", setup + recipe],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), recipe
        assert wanted is None or wanted in done.stdout, (recipe, done.stdout)


def test_explain(day: tuple[str, dict[str, str]]) -> None:
    """`campaignd explain` gives the same answer without a log."""
    setup, env = day
    script = f'{setup}\ncampaignd() {{ "{CAMPAIGND}" "$@"; }}\n' + EXPLAIN.replace(
        '"$at"', '"${at}Z"'
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "missed: too late" in done.stdout
