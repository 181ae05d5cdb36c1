"""`campaignd demo` as `make run` calls it: on a machine that has nothing but the package."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

CAMPAIGND = Path(sys.executable).with_name("campaignd")

# The demonstration of two other campaigns: one that will be right, and one that can not be.
GOES_WRONG = """
from daemon.cli import demo
from daemon.cli.commands.demo.cases import Case
from daemon.cli.main import main
from daemon.domain.schedule.schedule import CampaignType
from daemon.domain.campaign.state_machine import Status

LATER = {"schedule_type": "scheduled", "scheduled_at": "2100-01-01T00:00:00Z"}
demo.cases = lambda now: [
    Case("much later", CampaignType.ONE_TIME, LATER, 0, Status.SCHEDULED),
    Case("said to fail", CampaignType.ONE_TIME, None, 1, Status.FAILED),
]
demo._TIMEOUT_S = 3.0
main(["demo"])
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for temporary files that PostgreSQL's own user can pass, and nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def start(place: Path, *command: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command or [CAMPAIGND, "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "TMPDIR": str(place),
            # Neither of these is the demonstration's business.
            "CAMPAIGND_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/elsewhere",
            "CAMPAIGND_SCHEDULER__CONTINUOUS_INTERVAL": "7",
        },
    )


def nothing_is_left(place: Path) -> bool:
    """No file, and no process that was started on the place."""
    inside = [each for each in place.iterdir() if each.name.startswith("campaignd")]
    return not inside and not [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(place) in " ".join(process.info["cmdline"] or ())
    ]


@pytest.mark.alone
def test_the_demonstration_reaches_what_it_should(place: Path) -> None:
    began = time.monotonic()
    with start(place) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    assert "all 9 campaigns reached the state they should" in out
    for kind in ("one_time", "recurring", "segment_triggered", "event_triggered", "live_content"):
        assert kind in out
    summary = out[out.index("\nruns\n") : out.index("\ncampaigns\n")].splitlines()[3:]
    late = [line.split()[-2:] for line in summary if line]
    assert len(late) == 10
    assert {unit for _, unit in late} == {"ms"}
    assert all(float(number) >= 0 for number, _ in late)
    assert time.monotonic() - began < 60
    assert nothing_is_left(place)


def test_a_campaign_that_is_not_as_it_should_be(place: Path) -> None:
    """Told by name, in the summary and on standard error, and by the exit code."""
    with start(place, sys.executable, "-c", GOES_WRONG) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (1, "not as expected: said to fail\n"), out
    campaigns = out[out.index("\ncampaigns\n") :].splitlines()
    assert [line.split()[-1] for line in campaigns if "one_time" in line] == ["ok", "WRONG"]
    assert "reached the state they should" not in out
    assert nothing_is_left(place)


def test_interrupting_it_leaves_nothing_behind(place: Path) -> None:
    with start(place) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "campaigns created" in line:
                process.send_signal(signal.SIGINT)
                break
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "")
    assert nothing_is_left(place)
