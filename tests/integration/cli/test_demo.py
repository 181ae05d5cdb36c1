"""`campaignd demo` as `make run` starts it, without any configuration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

CAMPAIGND = Path(sys.executable).with_name("campaignd")

FAILING = """
from daemon.cli.commands.demo import demo
from daemon.cli.commands.demo.cases import DemoCampaign
from daemon.cli.main import main
from daemon.domain.schedule.schedule import CampaignType
from daemon.domain.campaign.state_machine import Status

LATER = {"schedule_type": "scheduled", "scheduled_at": "2100-01-01T00:00:00Z"}
demo.demo_campaigns = lambda now: [
    DemoCampaign("much later", CampaignType.ONE_TIME, LATER, 0, Status.SCHEDULED),
    DemoCampaign("expected to fail", CampaignType.ONE_TIME, None, 1, Status.FAILED),
]
demo._TIMEOUT_S = 3.0
main(["demo"])
"""
"""A demo with two other campaigns, of which the second cannot reach its expected status."""


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a working directory that PostgreSQL's own user can enter, with a stranger's module."""
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        Path(name).chmod(0o755)
        Path(name, "json.py").write_text("raise RuntimeError('from the working directory')")
        yield Path(name)


def start(place: Path, *command: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command or [CAMPAIGND, "demo"],
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "TMPDIR": str(place),
            # The demo ignores both.
            "CAMPAIGND_DATABASE_URL": "postgresql://someone@127.0.0.1:1/elsewhere",
            "CAMPAIGND_SCHEDULER__CONTINUOUS_INTERVAL": "7",
        },
    )


def nothing_is_left(place: Path) -> bool:
    """Return whether neither a file nor a process of the demo is left."""
    inside = [path for path in place.iterdir() if path.name.startswith("campaignd")]
    return not inside and not [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(place) in " ".join(process.info["cmdline"] or ())
    ]


@pytest.mark.alone
@pytest.mark.slow
def test_every_campaign_reaches_its_status(place: Path) -> None:
    began = time.monotonic()
    with start(place) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    assert "all 9 campaigns reached their expected status" in out
    for kind in ("one_time", "recurring", "segment_triggered", "event_triggered", "live_content"):
        assert kind in out
    summary = out[out.index("\nruns\n") : out.index("\ncampaigns\n")].splitlines()[3:]
    late = [line.split()[-2:] for line in summary if line]
    assert len(late) == 10
    assert {unit for _, unit in late} == {"ms"}
    assert all(float(number) >= 0 for number, _ in late)
    assert time.monotonic() - began < 60
    assert nothing_is_left(place)


@pytest.mark.alone
@pytest.mark.slow
def test_the_demo_stays_open_for_the_console_until_it_is_interrupted(place: Path) -> None:
    with start(place, CAMPAIGND, "demo", "--open") as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "/login?link=" in line)
        page = httpx.get(line.split()[-1], timeout=60)
        assert "Open the console" in page.text
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    assert "reached their expected status" in out
    assert nothing_is_left(place)


def test_a_campaign_with_another_status(place: Path) -> None:
    """Named in the summary and on standard error; exit code 1."""
    with start(place, sys.executable, "-P", "-c", FAILING) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (1, "not as expected: expected to fail\n"), out
    campaigns = out[out.index("\ncampaigns\n") :].splitlines()
    assert [line.split()[-1] for line in campaigns if "one_time" in line] == ["ok", "WRONG"]
    assert "reached their expected status" not in out
    assert nothing_is_left(place)


@pytest.mark.parametrize(
    ("number", "at", "code"),
    [
        (signal.SIGINT, "starting campaignd run", 130),
        (signal.SIGINT, "campaigns created", 130),
        (signal.SIGTERM, "campaigns created", 143),
    ],
)
def test_interrupting_it_leaves_nothing_behind(
    place: Path, number: signal.Signals, at: str, code: int
) -> None:
    with start(place) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if at in line:
                process.send_signal(number)
                break
        _, err = process.communicate()
    assert (process.returncode, err) == (code, "")
    assert nothing_is_left(place)
